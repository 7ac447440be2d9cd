{{- define "bellcrier.labels" -}}
app.kubernetes.io/name: bellcrier
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "bellcrier.selector" -}}
app.kubernetes.io/name: bellcrier
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: bot
{{- end }}

{{- define "bellcrier.name" -}}
{{- if contains "bellcrier" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-bellcrier{{ end }}
{{- end }}

{{- define "bellcrier.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "bellcrier.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "bellcrier.container" -}}
image: {{ include "bellcrier.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: BELLCRIER_CONFIG, value: /etc/bellcrier/bellcrier.toml}
  - {name: CREDENTIALS_DIRECTORY, value: /run/secrets/bellcrier}
  {{- if .Values.sqlite.enabled }}
  - {name: DATABASE_URL, value: "sqlite:////data/bellcrier.db"}
  {{- end }}
  {{- with .Values.trustedProxies }}
  - {name: BELLCRIER_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
  {{- end }}
  {{- if .Values.metrics.enabled }}
  - {name: BELLCRIER_METRICS_LISTEN, value: "0.0.0.0:9464"}
  {{- end }}
volumeMounts:
  - {name: settings, mountPath: /etc/bellcrier, readOnly: true}
  - {name: secrets, mountPath: /run/secrets/bellcrier, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  - {name: data, mountPath: /data}
{{- end }}

{{- define "bellcrier.volumes" -}}
- name: settings
  configMap: {name: {{ include "bellcrier.name" . }}}
- name: secrets
  secret:
    secretName: {{ required "existingSecret: name the Secret with the bot's tokens" .Values.existingSecret }}
    defaultMode: 0440
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}
