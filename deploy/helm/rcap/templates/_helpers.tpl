{{- define "rcap.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "rcap.selector" -}}
app.kubernetes.io/name: rcap
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rcap.labels" -}}
{{ include "rcap.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
