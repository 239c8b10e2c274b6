//! TLS.

use tokio_rustls::TlsAcceptor;

use super::{ServerError, Shutdown, Tls, Toggle};

#[derive(Debug)]
pub(super) struct TlsFiles {}

impl TlsFiles {
    pub(super) fn load(_tls: Tls, _http2: Toggle) -> Result<Self, ServerError> {
        Ok(Self {})
    }
    pub(super) fn watch(self, _orders: Shutdown) -> TlsAcceptor {
        unimplemented!()
    }
}
