//! What the debug listener answers: `/debug/health`, and the metrics when they are enabled.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Telemetry;

/// The content type of the OpenMetrics text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/debug/health` (200 with `{}`, or 503 with each failing check and its error), an empty `/debug/vars`, and the metrics
/// under `prometheus_path` when one is given. A path that is not absolute is taken from the root.
pub fn debug_router(telemetry: Telemetry, prometheus_path: Option<&str>) -> Router {
    let Telemetry { metrics, health, .. } = telemetry;
    let fixed = Router::new()
        .route("/debug/health", get(move || std::future::ready(json(health.report()))))
        .route("/debug/vars", get(|| std::future::ready(json((StatusCode::OK, "{}".to_owned())))));
    let Some(path) = prometheus_path else { return fixed };
    let path = format!("/{}", path.trim_start_matches('/'));
    // Not a route: a path from the config may hold what the router takes for a pattern, or be one of those above.
    fixed.fallback(move |request: axum::extract::Request| {
        let asked = request.uri().path() == path && request.method() == http::Method::GET;
        let answer = if asked {
            ([(CONTENT_TYPE, OPENMETRICS)], metrics.encode()).into_response()
        } else {
            StatusCode::NOT_FOUND.into_response()
        };
        std::future::ready(answer)
    })
}

fn json((status, text): (StatusCode, String)) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, prometheus_path: Option<&str>) -> (StatusCode, String) {
        let router = debug_router(Telemetry::silent(), prometheus_path);
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn a_healthy_process_says_so_in_distributions_words() {
        assert_eq!(ask("/debug/health", None).await, (StatusCode::OK, "{}".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_only_where_they_are_configured() {
        assert_eq!(ask("/metrics", None).await.0, StatusCode::NOT_FOUND);
        let (status, text) = ask("/metrics", Some("metrics")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("registry_http_in_flight_requests"));
    }
}
