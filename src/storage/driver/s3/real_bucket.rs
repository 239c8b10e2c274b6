//! The contract of drivers on a bucket that the environment names, for stores that others wrote:
//! `BERTH_S3_ENDPOINT=http://… cargo test --lib real_bucket -- --ignored`, with `BERTH_S3_BUCKET`, `_ACCESS_KEY`,
//! `_SECRET_KEY` and `_REGION`. Each clause works below a directory of its own and leaves it behind.

use super::*;
use crate::storage::driver::contract::contract_tests;

fn config() -> Config {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    Config {
        endpoint: Some(variable("BERTH_S3_ENDPOINT")),
        addressing: Addressing::Path,
        region: variable("BERTH_S3_REGION"),
        credentials: Credentials::Given {
            access_key: variable("BERTH_S3_ACCESS_KEY"),
            secret_key: Secret::new(variable("BERTH_S3_SECRET_KEY")),
            session_token: None,
        },
        root_directory: format!("contract/{}", uuid::Uuid::new_v4()),
        ..Config::new(variable("BERTH_S3_BUCKET"))
    }
}

contract_tests!(ignored: { (open(&config()).await.unwrap(), ()) });
