//! The text form of the counters: names, labels and units as distribution's dashboards expect them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Handler;
use super::histogram::Histogram;
use super::metrics::{HandlerTable, Method, SizeHistogram, Tables};
use super::process;

/// Writes the counters at each scrape.
#[derive(Debug)]
pub(super) struct Exposition(pub(super) Arc<Tables>);

/// Microseconds to seconds.
const MICRO: f64 = 1e-6;

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let in_flight = i64::try_from(self.0.in_flight.load(Relaxed)).unwrap_or(i64::MAX);
        let name = "registry_http_in_flight_requests";
        ConstGauge::new(in_flight).encode(descriptor(
            &mut encoder,
            name,
            "Requests being served",
            MetricType::Gauge,
        )?)?;
        self.requests(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.sizes(&mut encoder)?;
        self.storage(&mut encoder)?;
        process::encode(&mut encoder)
    }
}

fn descriptor<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    metric: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, metric)
}

fn histogram<const N: usize, const L: usize>(
    encoder: &mut MetricEncoder<'_>,
    labels: [(&str, &str); L],
    histogram: &Histogram<N>,
    scale: f64,
) -> fmt::Result {
    let snapshot = histogram.snapshot(scale);
    if snapshot.count == 0 {
        return Ok(());
    }
    encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
        snapshot.sum,
        snapshot.count,
        &snapshot.buckets,
        None,
    )
}

impl Exposition {
    fn handlers(&self) -> impl Iterator<Item = (&'static str, &HandlerTable)> {
        Handler::ALL.into_iter().map(Handler::label).zip(&self.0.handlers)
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = descriptor(encoder, "registry_http_requests", "Requests answered", MetricType::Counter)?;
        for (handler, table) in self.handlers() {
            for method in Method::ALL {
                for (code, count) in table.counts(method) {
                    let code = if code == 0 { "other".to_owned() } else { code.to_string() };
                    let labels = [("handler", handler), ("method", method.label()), ("code", code.as_str())];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "registry_http_request_duration_seconds";
        let mut family =
            descriptor(encoder, name, "Time from a request's head to its response's end", MetricType::Histogram)?;
        for (handler, table) in self.handlers() {
            for (method, durations) in Method::ALL.into_iter().zip(&table.durations) {
                histogram(&mut family, [("handler", handler), ("method", method.label())], durations, MICRO)?;
            }
        }
        Ok(())
    }

    fn sizes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = ("registry_http_request_size_bytes", "Declared size of request bodies");
        let responses = ("registry_http_response_size_bytes", "Bytes of response bodies");
        self.size(encoder, requests, |table| &table.request_sizes)?;
        self.size(encoder, responses, |table| &table.response_sizes)
    }

    fn size(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        sizes: impl Fn(&HandlerTable) -> &SizeHistogram,
    ) -> fmt::Result {
        let mut family = descriptor(encoder, name, help, MetricType::Histogram)?;
        for (handler, table) in self.handlers() {
            histogram(&mut family, [("handler", handler)], sizes(table), 1.0)?;
        }
        Ok(())
    }

    fn storage(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(storage) = self.0.storage.get() else { return Ok(()) };
        let name = "registry_storage_action_seconds";
        let mut family = descriptor(encoder, name, "Time that storage actions took", MetricType::Histogram)?;
        for (action, durations) in storage.actions() {
            histogram(&mut family, [("driver", &storage.driver), ("action", action)], durations, MICRO)?;
        }
        Ok(())
    }
}
