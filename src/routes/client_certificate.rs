//! The certificate by which TLS knows the client, handed over by whoever accepts connections.

use std::sync::Arc;

/// In a request's extensions: the client certificate of its connection, when TLS has verified that an authority of ours
/// signed it and that the client holds its key. Certificates that were only shown never get here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// DER.
    pub der: Arc<[u8]>,
}
