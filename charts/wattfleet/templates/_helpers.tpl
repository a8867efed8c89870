{{- /* The first part of every name. Kubernetes allows 63 characters, and the longest of our endings has 15. */ -}}
{{- define "wattfleet.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* By these a part's pods are found, and for ever: a Deployment's selector cannot be changed. (part, root) */ -}}
{{- define "wattfleet.selector" -}}
app.kubernetes.io/name: wattfleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- /* What every object wears. (part, root) */ -}}
{{- define "wattfleet.labels" -}}
{{ include "wattfleet.selector" . }}
app.kubernetes.io/part-of: wattfleet
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* What pods wear: nothing that another version of this chart would change, as that restarts them. (part, root) */ -}}
{{- define "wattfleet.podLabels" -}}
{{ include "wattfleet.selector" . }}
app.kubernetes.io/part-of: wattfleet
{{- end }}

{{- /* An image of ours or of others. (image, root) */ -}}
{{- define "wattfleet.image" -}}
{{- $image := index .root.Values.images .image -}}
{{- $registry := .root.Values.images.registry -}}
{{- $ours := hasPrefix "wattfleet/" $image.repository -}}
{{- if and $registry $ours }}{{ trimSuffix "/" $registry }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "wattfleet.natsUrls" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "wattfleet.name" . }}-nats.{{ .Release.Namespace }}.svc:4222
{{- else -}}
{{ join "," .Values.nats.urls }}
{{- end -}}
{{- end }}

{{- define "wattfleet.usesSqlite" -}}
{{- $database := .Values.gateway.database -}}
{{- if not (or $database.url $database.existingSecret) }}true{{ end -}}
{{- end }}

{{- /* The pod of a part, up to its containers: user, spreading, where it may run. (part, root) */ -}}
{{- define "wattfleet.pod" -}}
{{- $values := index .root.Values .part -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "wattfleet.selector" $ | nindent 8 }}
{{- end }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The beginning of a part's container: its image, and that it can do no harm. (part, root) */ -}}
{{- define "wattfleet.container" -}}
name: {{ .part }}
image: {{ include "wattfleet.image" (dict "image" .part "root" .root) }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  {{- include "wattfleet.harmless" . | nindent 2 }}
{{- with (index .root.Values .part).resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "wattfleet.harmless" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Probes of a program of ours, by its port for health. */ -}}
{{- define "wattfleet.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
{{- end }}
