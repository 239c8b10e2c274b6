//! The table behind [`super::shape`]: every key that distribution 2.8 or 3.x knows, and ours.
//!
//! Data only. Ours are `http.trustedproxies`, `http.limits`, `storage.cache.manifestbytes` and `limits`.

use super::shape::{Key, Shape};

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, alias: None, shape }
}

const fn value(name: &'static str) -> Key {
    key(name, Shape::Value)
}

const fn section(name: &'static str, keys: &'static [Key]) -> Key {
    key(name, Shape::Section(keys))
}

const fn words(name: &'static str) -> Key {
    key(name, Shape::List(&Shape::Value))
}

const fn names(name: &'static str) -> Key {
    key(name, Shape::Names)
}

const fn alias(key: Key, alias: &'static str) -> Key {
    Key { name: key.name, alias: Some(alias), shape: key.shape }
}

/// The whole file.
pub(super) static ROOT: Shape = Shape::Section(&[
    value("version"),
    section("log", LOG),
    value("loglevel"),
    key("storage", Shape::Open(STORAGE)),
    key("auth", Shape::Open(AUTH)),
    section("middleware", MIDDLEWARE),
    section("http", HTTP),
    section("notifications", NOTIFICATIONS),
    section("redis", REDIS),
    section("health", HEALTH),
    section("proxy", PROXY),
    section("validation", VALIDATION),
    section("policy", &[section("repository", &[words("classes")])]),
    section("catalog", &[value("maxentries")]),
    section("tags", &[value("maxtags")]),
    section("limits", LIMITS),
    section("compatibility", &[section("schema1", &[value("signingkeyfile"), value("enabled")])]),
    section("reporting", REPORTING),
]);

const LOG: &[Key] = &[
    value("level"),
    value("formatter"),
    names("fields"),
    section("accesslog", &[value("disabled")]),
    value("reportcaller"),
    key("hooks", Shape::List(&Shape::Section(LOG_HOOK))),
];

const LOG_HOOK: &[Key] = &[
    value("disabled"),
    value("type"),
    words("levels"),
    alias(section("options", &[section("smtp", SMTP), value("from"), words("to")]), "MAILOPTIONS"),
];

const SMTP: &[Key] = &[value("addr"), value("username"), value("password"), value("insecure")];

const STORAGE: &[Key] = &[
    section("filesystem", &[value("rootdirectory"), value("maxthreads")]),
    section("inmemory", &[]),
    key("s3", Shape::Open(S3)),
    key("s3aws", Shape::Open(S3)),
    key("oss", Shape::Open(OSS)),
    key("gcs", Shape::Open(GCS)),
    key("azure", Shape::Open(AZURE)),
    key("swift", Shape::Open(SWIFT)),
    section("delete", &[value("enabled")]),
    section("redirect", &[value("disable"), words("exclude")]),
    section("cache", CACHE),
    section("tag", &[value("concurrencylimit")]),
    section("maintenance", MAINTENANCE),
];

const CACHE: &[Key] =
    &[value("blobdescriptor"), value("layerinfo"), value("blobdescriptorsize"), value("manifestbytes")];

const MAINTENANCE: &[Key] = &[
    section("uploadpurging", &[value("enabled"), value("age"), value("interval"), value("dryrun")]),
    section("garbagecollect", &[value("schedule"), value("grace"), value("deleteuntagged"), value("keepremoved")]),
    section("readonly", &[value("enabled")]),
];

const S3: &[Key] = &[
    value("accesskey"),
    value("secretkey"),
    value("sessiontoken"),
    value("region"),
    value("regionendpoint"),
    value("forcepathstyle"),
    value("bucket"),
    value("encrypt"),
    value("keyid"),
    value("secure"),
    value("skipverify"),
    value("v4auth"),
    value("chunksize"),
    value("multipartcopychunksize"),
    value("multipartcopymaxconcurrency"),
    value("multipartcopythresholdsize"),
    value("rootdirectory"),
    value("storageclass"),
    value("objectacl"),
    value("useragent"),
    value("usedualstack"),
    value("accelerate"),
    value("usefipsendpoint"),
    value("loglevel"),
    value("redirectendpoint"),
];

const OSS: &[Key] = &[
    value("accesskeyid"),
    value("accesskeysecret"),
    value("securitytoken"),
    value("region"),
    value("bucket"),
    value("endpoint"),
    value("internal"),
    value("redirectendpoint"),
    value("signatureversion"),
    value("encrypt"),
    value("encryptionkeyid"),
    value("secure"),
    value("chunksize"),
    value("rootdirectory"),
];

const GCS: &[Key] = &[
    value("bucket"),
    value("keyfile"),
    names("credentials"),
    value("rootdirectory"),
    value("chunksize"),
    value("maxconcurrency"),
    value("useragent"),
];

const AZURE: &[Key] = &[
    value("accountname"),
    value("accountkey"),
    value("container"),
    value("connectionstring"),
    section("credentials", &[value("type"), value("clientid"), value("tenantid"), value("secret")]),
    value("realm"),
    value("serviceurl"),
    value("rootdirectory"),
    value("max_retries"),
    value("retry_delay"),
    value("skipverify"),
];

const SWIFT: &[Key] = &[
    value("username"),
    value("password"),
    value("authurl"),
    value("container"),
    value("tenant"),
    value("tenantid"),
    value("domain"),
    value("domainid"),
    value("tenantdomain"),
    value("tenantdomainid"),
    value("trustid"),
    value("region"),
    value("authversion"),
    value("prefix"),
    value("endpointtype"),
    value("insecureskipverify"),
    value("chunksize"),
    value("secretkey"),
    value("accesskey"),
    value("tempurlcontainerkey"),
    value("tempurlmethods"),
];

const AUTH: &[Key] = &[
    names("none"),
    section("silly", &[value("realm"), value("service")]),
    section("htpasswd", &[value("realm"), value("path")]),
    section("token", TOKEN),
    key("robots", Shape::List(&Shape::Section(&[value("name"), value("passwordhash"), value("expires")]))),
    section("certificate", &[value("name")]),
    key("access", Shape::List(&Shape::Section(ACCESS))),
    names("groups"),
    value("groupsfile"),
];

const ACCESS: &[Key] = &[words("who"), words("repositories"), words("actions")];

const TOKEN: &[Key] = &[
    value("realm"),
    value("service"),
    value("issuer"),
    value("rootcertbundle"),
    value("jwks"),
    value("autoredirect"),
    value("autoredirectpath"),
    words("signingalgorithms"),
    section("server", &[value("key"), value("expiration"), value("refreshexpiration")]),
];

const MIDDLEWARE: &[Key] = &[
    key("registry", Shape::List(&Shape::Section(MIDDLEWARE_ITEM))),
    key("repository", Shape::List(&Shape::Section(MIDDLEWARE_ITEM))),
    key("storage", Shape::List(&Shape::Section(MIDDLEWARE_ITEM))),
];

const MIDDLEWARE_ITEM: &[Key] = &[value("name"), value("disabled"), names("options")];

const HTTP: &[Key] = &[
    value("addr"),
    value("net"),
    value("host"),
    value("prefix"),
    value("secret"),
    value("relativeurls"),
    value("draintimeout"),
    section("tls", TLS),
    names("headers"),
    section("debug", &[value("addr"), section("prometheus", &[value("enabled"), value("path")])]),
    section("http2", &[value("disabled")]),
    section("h2c", &[value("enabled")]),
    words("trustedproxies"),
    section("limits", HTTP_LIMITS),
];

const TLS: &[Key] = &[
    value("certificate"),
    value("key"),
    words("clientcas"),
    value("clientauth"),
    value("minimumtls"),
    words("ciphersuites"),
    section("letsencrypt", &[value("cachefile"), value("email"), words("hosts"), value("directoryurl")]),
];

const HTTP_LIMITS: &[Key] = &[
    value("connections"),
    value("connectionsperaddress"),
    value("headerbytes"),
    value("headercount"),
    value("headertimeout"),
    value("idletimeout"),
    value("stalltimeout"),
];

const LIMITS: &[Key] =
    &[value("manifestbytes"), value("blobbytes"), value("concurrentuploads"), value("referrerspage")];

const NOTIFICATIONS: &[Key] = &[
    alias(section("events", &[value("includereferences")]), "EVENTCONFIG"),
    key("endpoints", Shape::List(&Shape::Section(ENDPOINT))),
];

const ENDPOINT: &[Key] = &[
    value("name"),
    value("disabled"),
    value("url"),
    names("headers"),
    value("timeout"),
    value("threshold"),
    value("backoff"),
    words("ignoredmediatypes"),
    section("ignore", &[words("mediatypes"), words("actions")]),
];

const REDIS: &[Key] = &[
    key("options", Shape::Inline),
    words("addrs"),
    value("addr"),
    value("clientname"),
    value("db"),
    value("protocol"),
    value("username"),
    value("password"),
    value("sentinelusername"),
    value("sentinelpassword"),
    value("maxretries"),
    value("minretrybackoff"),
    value("maxretrybackoff"),
    value("dialtimeout"),
    value("readtimeout"),
    value("writetimeout"),
    value("contexttimeoutenabled"),
    value("poolfifo"),
    value("poolsize"),
    value("pooltimeout"),
    value("minidleconns"),
    value("maxidleconns"),
    value("maxactiveconns"),
    value("connmaxidletime"),
    value("connmaxlifetime"),
    value("maxredirects"),
    value("readonly"),
    value("routebylatency"),
    value("routerandomly"),
    value("mastername"),
    value("disableidentity"),
    value("identitysuffix"),
    value("unstableresp3"),
    section("tls", &[value("certificate"), value("key"), words("rootcas")]),
    section("pool", &[value("maxidle"), value("maxactive"), value("idletimeout")]),
];

const HEALTH: &[Key] = &[
    section("storagedriver", &[value("enabled"), value("interval"), value("threshold")]),
    alias(key("file", Shape::List(&Shape::Section(FILE_CHECK))), "FILECHECKERS"),
    alias(key("http", Shape::List(&Shape::Section(HTTP_CHECK))), "HTTPCHECKERS"),
    alias(key("tcp", Shape::List(&Shape::Section(TCP_CHECK))), "TCPCHECKERS"),
];

const FILE_CHECK: &[Key] = &[value("file"), value("interval"), value("threshold")];

const HTTP_CHECK: &[Key] =
    &[value("uri"), value("statuscode"), names("headers"), value("timeout"), value("interval"), value("threshold")];

const TCP_CHECK: &[Key] = &[value("addr"), value("timeout"), value("interval"), value("threshold")];

const PROXY: &[Key] = &[
    value("remoteurl"),
    value("username"),
    value("password"),
    section("exec", &[value("command"), value("lifetime")]),
    value("ttl"),
    value("cachewritetimeout"),
];

const VALIDATION: &[Key] = &[
    value("enabled"),
    value("disabled"),
    section(
        "manifests",
        &[
            section("urls", &[words("allow"), words("deny")]),
            section("indexes", &[value("platforms"), key("platformlist", Shape::List(&Shape::Section(PLATFORM)))]),
        ],
    ),
];

const PLATFORM: &[Key] = &[value("architecture"), value("os")];

const REPORTING: &[Key] = &[
    section("bugsnag", &[value("apikey"), value("releasestage"), value("endpoint")]),
    section("newrelic", &[value("licensekey"), value("name"), value("verbose")]),
];
