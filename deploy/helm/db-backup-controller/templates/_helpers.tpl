{{/* The name of everything in the release's namespace and of what is the cluster's. */}}
{{- define "name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a Deployment can never change. Never the value db-backup-controller of managed-by: by that
the controller finds what it made itself. */}}
{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "labels" -}}
{{ include "selector" . }}
{{ include "origin" . }}
{{- end -}}

{{- define "origin" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The hook's own, so that no Service and no policy takes its pod for a controller. */}}
{{- define "crds.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: crds
{{ include "origin" . }}
{{- end -}}

{{- define "targetNamespace" -}}
{{- .Values.targetNamespace | default .Release.Namespace -}}
{{- end -}}

{{- define "image" -}}
{{- $repo := required "image.repo: name the controller's image, without tag; for example --set image.repo=registry.example.com/db-backup-controller" .Values.image.repo -}}
{{- printf "%s:%s" $repo (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The Secret with the credentials for the images; empty: none. */}}
{{- define "pullSecret" -}}
{{- with .Values.imagePullSecret -}}
{{- if and .registry .existing -}}
{{- fail "imagePullSecret: registry and existing: set one of them" -}}
{{- else if and .registry (not (and .user .password)) -}}
{{- fail "imagePullSecret.registry needs imagePullSecret.user and imagePullSecret.password" -}}
{{- else if and (or .user .password) (not .registry) -}}
{{- fail "imagePullSecret.user and imagePullSecret.password need imagePullSecret.registry" -}}
{{- else if .registry -}}
{{- include "name" $ }}-registry
{{- else -}}
{{- .existing -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "dockerConfig" -}}
{{- with .Values.imagePullSecret -}}
{{- $auth := printf "%s:%s" .user .password | b64enc -}}
{{- dict "auths" (dict .registry (dict "auth" $auth)) | toJson -}}
{{- end -}}
{{- end -}}

{{/* The restricted pod security standard, as for the runners. */}}
{{- define "podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Ends with the cure where a kind of the Prometheus operator is not served. Only a live server names
kinds: whoever renders for another cluster knows what that one has. */}}
{{- define "needsMonitoring" -}}
{{- if and (.root.Capabilities.APIVersions.Has "apps/v1/Deployment") (not (.root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind))) -}}
{{- fail (printf "%s: this cluster does not serve the kind %s; install the Prometheus operator first, or set it to false" .value .kind) -}}
{{- end -}}
{{- end -}}
