#!/usr/bin/env bash
# node:http2, @grpc/grpc-js: who cancels an upload half way completes it first, and its server stores a part as the whole.
#
# `stream.close(NGHTTP2_CANCEL)` is how a request of HTTP/2 is given up. As a part of closing it ends the stream's own side,
# which on the wire is an empty frame with END_STREAM: "that was all"; then comes the frame that cancels. A server that works
# while it reads is done with the first before it sees the second. HAProxy hands the part on as a whole upload over
# HTTP/1.1; `call.cancel()` of grpc-js, which stands on it, lets the loop over the messages of a Python service end in good
# order, with the call still active, so that it commits what came. The client is told "cancelled". Node, Deno and Bun are
# the same in this. An abort signal, or `destroy(error)`, sends the cancelling frame alone (`destroy()` without an error
# does so on Node and Deno).
set -euo pipefail
haproxy_version=3.2.26-1 # Debian sid
grpcio_version=1.51.1-10+b1
grpc_js_version=1.14.7 # npm, as all below
node_version=26.10.0
deno_version=2.9.6
bun_version=1.4.5
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@grpc/grpc-js@$grpc_js_version" "node@$node_version" "deno@$deno_version" "bun@$bun_version"
export PATH=$work/node_modules/.bin:$PATH DENO_NO_UPDATE_CHECK=1

# HAProxy, and gRPC for Python, with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
packages=("haproxy=$haproxy_version" "python3-grpcio=$grpcio_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib|^python3' | grep -vxF python3-grpcio | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
shared=$work/root/usr/lib/x86_64-linux-gnu
python=$(find root/usr/bin -name 'python3.*' -type f | head -1)

# The server behind HAProxy says of each upload whether it came as a whole.
cat >server.mjs <<'SERVER'
import { createServer } from "node:http";
createServer((request) => {
  let bytes = 0;
  request.on("data", (chunk) => bytes += chunk.length)
    .on("end", () => console.log(`whole with ${bytes} bytes`))
    .on("error", () => console.log("broken off"));
}).listen(24391, "127.0.0.1");
SERVER
node server.mjs >uploads &
pids+=($!)
cat >haproxy.cfg <<'HAPROXY'
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen uploads
  bind 127.0.0.1:24392 proto h2
  server origin 127.0.0.1:24391
HAPROXY
"$loader" --library-path "$shared" root/usr/sbin/haproxy -db -f haproxy.cfg >/dev/null 2>&1 &
pids+=($!)
cat >service.py <<'SERVICE'
from concurrent import futures
import grpc

class Service(grpc.GenericRpcHandler):
    def service(self, call):
        def upload(messages, context):
            count = 0
            try:
                for _ in messages:
                    count += 1
                print(f"whole with {count} messages, active: {context.is_active()}", flush=True)
            except Exception:
                print("broken off", flush=True)
            return b""
        return grpc.stream_unary_rpc_method_handler(upload)

server = grpc.server(futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Service(),))
server.add_insecure_port("127.0.0.1:24393")
server.start()
server.wait_for_termination()
SERVICE
PYTHONPATH=$work/root/usr/lib/python3/dist-packages PYTHONHOME=$work/root/usr \
  "$loader" --library-path "$shared" "$python" service.py >calls 2>/dev/null &
pids+=($!)
for port in 24391 24392 24393; do until (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done; done

cat >upload.mjs <<'UPLOAD'
// Sends a part, and gives up.
import { connect, constants } from "node:http2";
const [way] = process.argv.slice(2);
const abort = new AbortController();
const session = connect("http://127.0.0.1:24392").on("error", () => {});
const upload = session.request({ ":method": "PUT" }, { signal: abort.signal }).on("error", () => {});
upload.write("a".repeat(500));
setTimeout(() => {
  if (way === "close") upload.close(constants.NGHTTP2_CANCEL);
  if (way === "signal") abort.abort();
  if (way === "error") upload.destroy(new Error("given up"));
  setTimeout(() => process.exit(), 1000);
}, 1000);
UPLOAD
cat >call.mjs <<'CALL'
import grpc from "@grpc/grpc-js";
const same = (value) => value;
const Client = grpc.makeGenericClientConstructor({
  upload: {
    path: "/service/upload",
    requestStream: true,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  },
}, "service");
const call = new Client("127.0.0.1:24393", grpc.credentials.createInsecure()).upload(() => process.exit());
call.write(Buffer.alloc(500));
setTimeout(() => call.cancel(), 1000);
CALL
told() { # FILE NAME COMMAND…: what the server said of the one upload of the command
  local file=$1 name=$2
  shift 2
  : >"$file"
  timeout 30 "$@" >/dev/null 2>&1
  for _ in $(seq 50); do [ -s "$file" ] && break || sleep 0.1; done
  echo "$name: $(tr -d '\0' <"$file")"
}
seen=$(for runtime in node "deno run -A" bun; do
  for way in close signal error; do told uploads "${runtime%% *}, $way" $runtime upload.mjs "$way"; done
done
told calls "grpc-js, cancel()" node call.mjs)
echo "Node $node_version, Deno $deno_version, Bun $bun_version, HAProxy $haproxy_version, grpc-js $grpc_js_version, grpcio $grpcio_version"
echo "guess: an upload that its client has cancelled is broken off for the server"
echo "seen:"
echo "$seen"
[ "$seen" = "node, close: whole with 500 bytes
node, signal: broken off
node, error: broken off
deno, close: whole with 500 bytes
deno, signal: broken off
deno, error: broken off
bun, close: whole with 500 bytes
bun, signal: broken off
bun, error: broken off
grpc-js, cancel(): whole with 1 messages, active: True" ] || {
  echo "this has changed"
  exit 1
}
