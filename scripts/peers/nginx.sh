#!/usr/bin/env bash
# Starts nginx with one worker as a token endpoint that does nothing but answer:
# a body of the usual size to every request, and its own counter at /status.
# For scripts that source it.
#
#   start_nginx FOLDER PORT     writes FOLDER/nginx.conf; the process is $server

start_nginx() {
  local folder=$1 port=$2 token
  token=$(head -c 600 /dev/zero | tr '\0' t)
  cat >"$folder/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:$port backlog=4096;
    location /status { stub_status; }
    location / {
      default_type application/json;
      return 200 '{"access_token":"$token","expires_in":3600,"restricted_to":[],"token_type":"bearer"}';
    }
  }
}
CONF
  nginx -c "$folder/nginx.conf" -p "$folder" &
  server=$!
}
