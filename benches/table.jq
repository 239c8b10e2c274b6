# Renders the lines that compare.sh collected as the table of README: one line of Markdown for each row. A target that
# needs a server which was not run is shown as "not measured".

def rounded: if . == null then null elif . >= 100 then round elif . >= 10 then (. * 10 | round / 10) else (. * 100 | round / 100) end;
def or_dash: if . == null then "–" else tostring end;
def verdict: if . == null then "not measured" elif . then "yes" else "**no**" end;
def ratio($a; $b): if $a == null or $b == null or $b == 0 then null else $a / $b end;

(map({ key: .label, value: . }) | from_entries) as $all
| def value($server; $row; $field): $all["\($server)/\($row)"][$field];

def line($title; $row; $speed; $unit; $cost; $cost_unit; $least; $most; $reference; $target):
    ["berth", "distribution3", "distribution2", "nginx"] as $names
    | ($names | map(value(.; $row; $speed))) as $speeds
    | ($names | map(value(.; $row; $cost))) as $costs
    | ratio($speeds[0]; $speeds[1]) as $faster
    | (if $reference == "nginx" then ratio($costs[0]; $costs[3]) else $costs[0] end) as $dearer
    | (if $least == null then true elif $faster == null then null else $faster >= $least end) as $fast
    | (if $most == null then true elif $dearer == null then null else $dearer <= $most end) as $cheap
    | [ $title ]
      + [ range(4) | if $speeds[.] == null then "–" else "\($speeds[.] | rounded)\($unit), \($costs[.] | rounded) \($cost_unit)" end ]
      + [ ($faster | rounded | if . == null then "–" else "\(.)x" end),
          (ratio($costs[0]; $costs[3]) | rounded | if . == null then "–" else "\(.)x" end),
          $target,
          (if $fast == false or $cheap == false then false elif $fast == null or $cheap == null then null else true end | verdict) ];

def single($title; $row; $field; $unit; $most):
    [ $title ]
    + [ "berth", "distribution3", "distribution2", "nginx" | value(.; $row; $field) | if . == null then "–" else "\(rounded) \($unit)" end ]
    + [ "–", "–", "at most \($most) \($unit)",
        (value("berth"; $row; $field) | if . == null then null else . <= $most end | verdict) ];

# The peak over reading and pushing: VmHWM only grows, so the last row of that process holds it.
[
    [ "work", "Berth", "distribution 3", "distribution 2.8", "nginx, static", "Berth / distribution 3", "processor time, Berth / nginx", "target", "met" ],
    [ range(9) | "---" ],
    line("GET manifest by tag, 16 connections"; "get-manifest"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 5; 2; "nginx"; "≥ 5x; ≤ 2x nginx's CPU"),
    line("HEAD manifest by tag, 16 connections"; "head-manifest"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 5; 2; "nginx"; "≥ 5x; ≤ 2x nginx's CPU"),
    line("GET blob 64 KiB, 16 connections"; "get-64k"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 15; 1.6; "nginx"; "≥ 15x; ≤ 1.6x nginx's CPU"),
    line("GET blob 256 MiB, 2 connections"; "get-256m"; "mib_per_second"; " MiB/s"; "server_cpu_ms_per_mib"; "ms/MiB"; null; 1.1; "nginx"; "≤ 1.1x nginx's CPU"),
    line("push 64 MiB blob (POST, PATCH, PUT), 2 connections"; "push-64m"; "mib_per_second"; " MiB/s"; "server_cpu_ms_per_mib"; "ms/MiB"; 1.6; 1.0; "none"; "≥ 1.6x; ≤ 1.0 ms/MiB"),
    line("push small image (2 x 64 KiB, config, manifest), 8 connections"; "push-image"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 3; null; "none"; "≥ 3x"),
    line("the same as the classic docker engine sends it"; "push-docker"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 3; null; "none"; "≥ 3x"),
    line("tags/list with 1,000 tags, 16 connections"; "tags"; "requests_per_second"; "/s"; "server_cpu_us_per_request"; "us"; 10; null; "none"; "≥ 10x"),
    single("peak resident memory over all of the above"; "push-docker"; "server_peak_mib"; "MiB"; 60),
    single("peak with 32 uploads of 100 MiB and 1,000 idle connections"; "memory"; "server_peak_mib"; "MiB"; 100),
    single("start until the first answer to /v2/, median"; "start"; "median_ms"; "ms"; 50)
]
| .[] | "| " + (map(or_dash) | join(" | ")) + " |"
