{{/* Labels that never change, of one service: (dict "root" $ "service" "tickets"). */}}
{{- define "deskwire.selector" -}}
app.kubernetes.io/name: deskwire
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "deskwire.labels" -}}
{{ include "deskwire.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "deskwire.name" -}}
{{ printf "%s-%s" .root.Release.Name .service | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What holds for one service, as YAML: the defaults, and over them what it says itself. */}}
{{- define "deskwire.of" -}}
{{- $own := index .root.Values.services .service | default dict -}}
{{ toYaml (mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own)) }}
{{- end }}

{{- define "deskwire.image" -}}
{{ printf "%sdeskwire-%s:%s" .root.Values.image.registry .service (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
{{- end }}

{{/* The user a service is on the broker: (dict "root" $ "service" "tickets"). */}}
{{- define "deskwire.user" -}}
{{ printf "%s%s" .root.Values.kafka.topicPrefix .service }}
{{- end }}

{{/* Settings everybody gets, with `user` on the broker; none is a secret. */}}
{{- define "deskwire.environment" -}}
{{- $root := .root -}}
- {name: KAFKA_URL, value: {{ $root.Values.kafka.url | quote }}}
{{- if and $root.Values.kafka.sasl .user }}
- {name: KAFKA_USERNAME, value: {{ .user | quote }}}
{{- end }}
{{- if $root.Values.kafka.tls }}
- {name: KAFKA_CA_FILE, value: /run/secrets/kafka_ca}
{{- end }}
{{- if $root.Values.database.tls }}
- {name: DATABASE_CA_FILE, value: /run/secrets/database_ca}
{{- end }}
{{- with $root.Values.kafka.topicPrefix }}
- {name: TOPIC_PREFIX, value: {{ . | quote }}}
{{- end }}
- {name: BLOBS_URL, value: {{ $root.Values.blobs.url | quote }}}
- {name: ORIGIN_URL, value: {{ $root.Values.originUrl | quote }}}
{{- range $name := keys $root.Values.services | sortAlpha }}
{{- if ne $name "console" }}
{{- $one := include "deskwire.of" (dict "root" $root "service" $name) | fromYaml }}
{{- $address := index $root.Values.elsewhere $name | default "" }}
{{- if $one.enabled }}
{{- $address = printf "http://%s:8000" (include "deskwire.name" (dict "root" $root "service" $name)) }}
{{- end }}
{{- if $address }}
- {name: {{ upper $name }}_URL, value: {{ $address | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := $root.Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* The same for the pods of services and of jobs: nothing of the node, nothing of the cluster. */}}
{{- define "deskwire.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10002
  runAsGroup: 10002
  fsGroup: 10002
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "deskwire.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The key of the Secret by which Kafka is reached as a user: (dict "root" $ "key" "tickets_kafka_password"). */}}
{{- define "deskwire.kafka" -}}
{{- if .root.Values.kafka.sasl }}
- {key: {{ .key }}, path: kafka_password}
{{- end }}
{{- end }}

{{/* Certificates of authorities; everybody's environment names them, and they are no secret. */}}
{{- define "deskwire.authorities" -}}
{{- if .root.Values.kafka.tls }}
- {key: kafka_ca, path: kafka_ca}
{{- end }}
{{- if .root.Values.database.tls }}
- {key: database_ca, path: database_ca}
{{- end }}
{{- end }}

{{/* Keys of the Secret that a service reads, as items of a volume. */}}
{{- define "deskwire.secrets" -}}
{{- $root := .root -}}
- {key: master_key, path: master_key}
{{- include "deskwire.authorities" . }}
{{- if ne .service "console" }}
- {key: {{ .service }}_database_url, path: {{ .service }}_database_url}
{{- include "deskwire.kafka" (dict "root" $root "key" (printf "%s_kafka_password" .service)) }}
{{- end }}
{{- if eq .service "search" }}
{{- if $root.Values.opensearch.username }}
- {key: search_opensearch_password, path: search_opensearch_password}
{{- end }}
{{- if $root.Values.opensearch.tls }}
- {key: opensearch_ca, path: opensearch_ca}
{{- end }}
{{- end }}
{{- end }}
