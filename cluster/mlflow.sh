#!/usr/bin/env bash
# MLflow for a group: runs and accounts in PostgreSQL, artifacts in FOLDER. Passwords are files of FOLDER, on no command line.
#   cluster/mlflow.sh FOLDER [options of mlflow server, as --host ADDRESS --port 5000]
# FOLDER/uri holds postgresql://USER:PASSWORD@HOST/DATABASE, of a database that is there; the rest is made at the first start.
set -euo pipefail
[ $# -ge 1 ] && [ -s "$1/uri" ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
umask 077
cd "$1"; shift
chmod 600 uri
new() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
[ -s key ] || new > key
[ -s password ] || new > password
cat > auth.ini << END
[mlflow]
default_permission = READ
database_uri = $(sed 's/%/%%/g' uri)
admin_username = breakeven
admin_password = $(< password)
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 300
END
export MLFLOW_BACKEND_STORE_URI MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH=$PWD/auth.ini
MLFLOW_BACKEND_STORE_URI=$(< uri) MLFLOW_FLASK_SERVER_SECRET_KEY=$(< key)
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=1
exec mlflow server --app-name basic-auth --artifacts-destination "$PWD/artifacts" --host 127.0.0.1 --port 5000 --workers 2 "$@"
