"""What the other proxies are told. Each writes an access log into a file, as Portico does."""

import json

NGINX = """
daemon off; master_process off; pid {at}/pid; error_log {at}/log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 19500; }}
http {{
  access_log {log}; keepalive_requests 100000000; client_max_body_size 0; proxy_max_temp_file_size 0;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  map $http_upgrade $hop {{ default upgrade; "" ""; }}
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 100000000; }}
  upstream echo {{ server 127.0.0.1:{echo}; keepalive 64; }}
  upstream bulk {{ server 127.0.0.1:{bulk}; }}
  {tls_keys}
  proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop;
  proxy_request_buffering off; proxy_read_timeout 1h;
  server {{
    listen 127.0.0.1:{plain} backlog=4096; {listen_tls}
    location / {{ proxy_pass http://app; }}
    location /bytes/ {{ proxy_pass http://bulk; }}
  }}
  server {{ listen 127.0.0.1:{plain_echo} backlog=4096; {listen_tls_echo} location / {{ proxy_pass http://echo; }} }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 9500
  ssl-server-verify none
defaults
  mode http
  {log}
  backlog 4096
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  http-reuse always
frontend app
  bind 127.0.0.1:{plain}
  {bind_tls}
  use_backend bulk if {{ path_beg /bytes/ }}
  default_backend app
frontend echo
  bind 127.0.0.1:{plain_echo}
  {bind_tls_echo}
  default_backend echo
backend app
  server app 127.0.0.1:{app}
backend echo
  server echo 127.0.0.1:{echo}
backend bulk
  server bulk 127.0.0.1:{bulk}
"""

CADDY = """
{{
  admin off
  auto_https off
  persist_config off
}}
http://:{plain} {{
  bind 127.0.0.1
  {log}
  reverse_proxy 127.0.0.1:{app}
}}
http://:{plain_echo} {{
  bind 127.0.0.1
  {log}
  reverse_proxy 127.0.0.1:{echo}
}}
{sites}
"""
CADDY_TLS = """
https://:{tls} {{
  bind 127.0.0.1
  tls {certificate} {key}
  {log}
  reverse_proxy 127.0.0.1:{app}
}}
https://:{tls_echo} {{
  bind 127.0.0.1
  tls {certificate} {key}
  {log}
  reverse_proxy 127.0.0.1:{echo}
}}
"""

TRAEFIK = """
entryPoints:
  app: {{ address: "127.0.0.1:{plain}" }}
  echo: {{ address: "127.0.0.1:{plain_echo}" }}
  app_tls: {{ address: "127.0.0.1:{tls}" }}
  echo_tls: {{ address: "127.0.0.1:{tls_echo}" }}
providers: {{ file: {{ filename: {at}/dynamic.yml }} }}
log: {{ level: ERROR }}
{log}
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
"""
TRAEFIK_ROUTES = """
http:
  routers:
    app: {{ entryPoints: [app], rule: "PathPrefix(`/`)", service: app }}
    echo: {{ entryPoints: [echo], rule: "PathPrefix(`/`)", service: echo }}
"""
TRAEFIK_TLS_ROUTES = """
    app_tls: {{ entryPoints: [app_tls], rule: "PathPrefix(`/`)", service: app, tls: {{}} }}
    echo_tls: {{ entryPoints: [echo_tls], rule: "PathPrefix(`/`)", service: echo, tls: {{}} }}
"""
TRAEFIK_SERVICES = """
  services:
    app: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{app}" }}] }} }}
    echo: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{echo}" }}] }} }}
"""
TRAEFIK_CERTIFICATE = """
tls: {{ certificates: [{{ certFile: {certificate}, keyFile: {key} }}], stores: {{ default: {{ defaultCertificate: {{ certFile: {certificate}, keyFile: {key} }} }} }} }}
"""

API = "type.googleapis.com/envoy.extensions"


def envoy(facts, tls, logs):
    """Envoy's configuration, as JSON."""
    listeners = [_listener(facts, facts["plain"], "app", False, logs), _listener(facts, facts["plain_echo"], "echo", False, logs)]
    if tls:
        listeners += [_listener(facts, facts["tls"], "app", True, logs), _listener(facts, facts["tls_echo"], "echo", True, logs)]
    clusters = [_cluster(name, facts[name]) for name in ("app", "echo")]
    return json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}, indent=1)


def _listener(facts, port, cluster, tls, logs):
    manager = {
        "@type": f"{API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"{cluster}{port}",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "0s",
        "route_config": {
            "virtual_hosts": [{
                "name": cluster,
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}],
            }],
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{API}.filters.http.router.v3.Router"}}],
    }
    if logs:
        log = {"@type": f"{API}.access_loggers.file.v3.FileAccessLog", "path": f"{facts['at']}/access.log"}
        manager["access_log"] = [{"name": "file", "typed_config": log}]
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    if tls:
        keys = {"certificate_chain": {"filename": facts["certificate"]}, "private_key": {"filename": facts["key"]}}
        # The load speaks WebSocket over HTTP/1.1.
        spoken = ["http/1.1"] if cluster == "echo" else ["h2", "http/1.1"]
        context = {"@type": f"{API}.transport_sockets.tls.v3.DownstreamTlsContext"}
        context["common_tls_context"] = {"alpn_protocols": spoken, "tls_certificates": [keys]}
        chain["transport_socket"] = {"name": "tls", "typed_config": context}
    return {"name": f"{cluster}{port}", "address": _address(port), "filter_chains": [chain]}


def _cluster(name, port):
    most = [{"max_connections": 50000, "max_pending_requests": 50000, "max_requests": 50000}]
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": most},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
