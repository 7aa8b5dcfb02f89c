# Steps whose results go to the second serial port of a virtual machine, a line of JSON
# each, with the output in base64; the kernel's messages go to the first one.

results=/dev/ttyS1
stty -F $results raw

# step NAME COMMAND...: runs a command and reports it.
step() {
  name=$1
  shift
  begin=$(uptime_seconds)
  "$@" >/tmp/stdout 2>/tmp/stderr
  code=$?
  end=$(uptime_seconds)
  echo "[$begin-$end] $name: $code"
  printf '{"name":"%s","code":%s,"begin":%s,"end":%s,"stdout":"%s","stderr":"%s"}\n' \
    "$name" "$code" "$begin" "$end" \
    "$(base64 -w 0 /tmp/stdout)" "$(base64 -w 0 /tmp/stderr)" >$results
}

uptime_seconds() {
  cut -d ' ' -f 1 /proc/uptime
}
