//! Error codes: the stable words that clients act on, each with its HTTP status.

macro_rules! codes {
    ($($status:literal: $($variant:ident = $text:literal),+;)+) => {
        /// What went wrong, in a word that never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($($variant),+),+ }

        impl ErrorCode {
            pub fn as_str(self) -> &'static str {
                match self { $($(ErrorCode::$variant => $text),+),+ }
            }

            pub fn status(self) -> u16 {
                match self { $($(ErrorCode::$variant => $status),+),+ }
            }
        }
    };
}

codes! {
    400:
        InvalidBody = "invalid_body",
        InvalidNamespace = "invalid_namespace",
        InvalidKey = "invalid_key",
        MissingKey = "missing_key",
        MissingParams = "missing_params",
        MissingOwner = "missing_owner",
        MissingLease = "missing_lease",
        MissingTxn = "missing_txn",
        InvalidTxn = "invalid_txn",
        MissingFencingToken = "missing_fencing_token",
        InvalidFencingToken = "invalid_fencing_token",
        InvalidVersion = "invalid_version",
        InvalidExpectedBytes = "invalid_expected_bytes",
        InvalidExpectedSha256 = "invalid_expected_sha256",
        InvalidMetadata = "invalid_metadata",
        InvalidMutations = "invalid_mutations",
        MissingAttachment = "missing_attachment",
        InvalidMaxBytes = "invalid_max_bytes",
        InvalidNamespaceRequest = "invalid_namespace_request",
        InvalidContentType = "invalid_content_type",
        MultipartError = "multipart_error",
        MissingQueue = "missing_queue",
        InvalidQueue = "invalid_queue",
        InvalidQueueKey = "invalid_queue_key",
        MissingFields = "missing_fields",
        InvalidNackIntent = "invalid_nack_intent",
        InvalidNackLastError = "invalid_nack_last_error",
        MissingTxnId = "missing_txn_id",
        InvalidTxnId = "invalid_txn_id",
        InvalidState = "invalid_state",
        InvalidBackendHash = "invalid_backend_hash",
        TcTermRequired = "tc_term_required";
    403:
        LeaseRequired = "lease_required",
        LeaseExpired = "lease_expired",
        FencingMismatch = "fencing_mismatch",
        QueueStateKeepaliveUnsupported = "queue_state_keepalive_unsupported";
    404:
        AttachmentNotFound = "attachment_not_found",
        NotFound = "not_found",
        TxnNotFound = "txn_not_found";
    405:
        MethodNotAllowed = "method_not_allowed";
    409:
        Waiting = "waiting",
        AlreadyExists = "already_exists",
        TxnMismatch = "txn_mismatch",
        VersionConflict = "version_conflict",
        EtagMismatch = "etag_mismatch",
        CasMismatch = "cas_mismatch",
        ExpectedBytesMismatch = "expected_bytes_mismatch",
        ExpectedSha256Mismatch = "expected_sha256_mismatch",
        NamespaceConfigConflict = "namespace_config_conflict",
        QueueMessageLeaseMismatch = "queue_message_lease_mismatch",
        TxnPending = "txn_pending",
        TxnConflict = "txn_conflict",
        TxnBackendMismatch = "txn_backend_mismatch",
        TcTermStale = "tc_term_stale";
    413:
        AttachmentTooLarge = "attachment_too_large",
        DocumentTooLarge = "document_too_large";
    500:
        InternalError = "internal_error";
    503:
        ShutdownDraining = "shutdown_draining",
        NoSpace = "no_space",
        QueueBusy = "queue_busy",
        TcUnavailable = "tc_unavailable",
        TcClusterUnavailable = "tc_cluster_unavailable",
        TcRmUnavailable = "tc_rm_unavailable";
}
