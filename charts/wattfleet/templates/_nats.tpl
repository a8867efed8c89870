{{- /* A NATS server's configuration. Who may do what is included: the operator writes it, with keys that it made. */ -}}
{{- define "wattfleet.natsConfiguration" -}}
{{- $nats := .Values.nats -}}
server_name: $SERVER_NAME
listen: "0.0.0.0:4222"
include ./accounts/accounts.conf
# What is acknowledged is on disk before the answer.
jetstream {
  store_dir: /data/jetstream
  max_memory_store: 16MB
  max_file_store: {{ $nats.maxFileStore }}
  sync_interval: always
}
{{ .Files.Get "files/broker-settings.conf" | trim }}
{{- if $nats.tls.existingSecret }}
tls {
  cert_file: /run/tls/tls.crt
  key_file: /run/tls/tls.key
}
allow_non_tls: true
{{- end }}
{{- if eq (int $nats.replicas) 3 }}
cluster {
  name: wattfleet
  listen: "0.0.0.0:6222"
  routes: $ROUTES
  authorization: $ROUTES_AUTHORIZATION
}
{{- end }}
{{- end }}
