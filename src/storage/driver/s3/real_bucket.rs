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

#[tokio::test]
#[ignore = "needs a store"]
async fn a_wrong_configuration_is_one_clear_error_at_start() {
    let right = config();
    let Credentials::Given { access_key, secret_key, .. } = right.credentials.clone() else { panic!("keys are given") };
    let given = |access_key: &str, secret_key: Secret| Credentials::Given {
        access_key: access_key.to_owned(),
        secret_key,
        session_token: None,
    };
    let nobody = format!("{}0", access_key.split_at(access_key.len() - 1).0);
    let cases = [
        (Config { bucket: "berth-nowhere".to_owned(), ..right.clone() }, "storage.s3.bucket"),
        (Config { credentials: given(&access_key, Secret::new("hushhush")), ..right.clone() }, "storage.s3.secretkey"),
        (Config { credentials: given(&nobody, secret_key), ..right.clone() }, "storage.s3.accesskey"),
        (Config { region: "mars".to_owned(), ..right.clone() }, "storage.s3.region"),
    ];
    for (config, key) in cases {
        match open(&config).await {
            // MinIO takes any region.
            Ok(_) => assert_eq!(key, "storage.s3.region"),
            Err(error) => {
                assert!(error.to_string().contains(key), "{error}");
                assert!(!format!("{error:?}").contains("hush"));
            }
        }
    }
}
