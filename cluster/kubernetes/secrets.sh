#!/usr/bin/env bash
# Make all passwords of a study on Kubernetes, as files that nobody else can read, one folder for each Secret:
#   cluster/kubernetes/secrets.sh FOLDER
# Nothing of them is printed or stands on a command line. Delete FOLDER when the Secrets are made.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
umask 077
mkdir "$1" || { echo "secrets.sh: name a folder that is not there: a new password would lock out the database of the old one" >&2; exit 2; }
cd "$1"
mkdir ray-token postgres mlflow-server mlflow-user
new() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
new > ray-token/auth_token
new > postgres/password
new > mlflow-server/key
new > mlflow-user/password
printf breakeven > mlflow-user/username
printf 'postgresql://mlflow:%s@postgres:5432/mlflow' "$(< postgres/password)" > mlflow-server/uri
cat > mlflow-server/auth.ini <<END
[mlflow]
default_permission = READ
database_uri = $(< mlflow-server/uri)
admin_username = $(< mlflow-user/username)
admin_password = $(< mlflow-user/password)
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 300
END
