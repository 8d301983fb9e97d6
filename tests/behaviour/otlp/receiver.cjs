// An OTLP/HTTP receiver around the decoder of OpenTelemetry's own packages:
//   receiver.cjs NODE_MODULES PORT LOG [STATUS [COUNT]]
// Each record accepted becomes a line of JSON in LOG, before the answer is sent. With STATUS the first COUNT requests
// (all, without it) are answered with it instead; 0 means never, 'partial' that the last record of each is refused.
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");

const [modules, port, log, status, count] = process.argv.slice(2);
const root = require(path.join(modules, "@opentelemetry/otlp-transformer/build/src/generated/root.js"));
const { ExportLogsServiceRequest } = root.opentelemetry.proto.collector.logs.v1;

let refusals = status === undefined || status === "partial" ? 0 : count === undefined ? Infinity : Number(count);

function plain(value) {
  if (value.arrayValue) return (value.arrayValue.values ?? []).map(plain);
  if (value.kvlistValue) return pairs(value.kvlistValue.values ?? []);
  if (value.intValue !== undefined) {
    const number = Number(value.intValue);
    return Number.isSafeInteger(number) ? number : value.intValue;
  }
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? null;
}

function pairs(list) {
  return Object.fromEntries(list.map(({ key, value }) => [key, plain(value)]));
}

/** Through the binary form, so that what is no OTLP does not survive. */
function decode(text) {
  const json = JSON.parse(text);
  const fault = ExportLogsServiceRequest.verify(ExportLogsServiceRequest.fromObject(json));
  if (fault) throw new Error(fault);
  const bytes = ExportLogsServiceRequest.encode(ExportLogsServiceRequest.fromObject(json)).finish();
  return ExportLogsServiceRequest.toObject(ExportLogsServiceRequest.decode(bytes), { longs: String, bytes: String });
}

function records(request, headers) {
  return request.resourceLogs.flatMap(({ resource, scopeLogs }) =>
    scopeLogs.flatMap(({ scope, logRecords }) =>
      logRecords.map((record) => ({
        resource: pairs(resource.attributes), scope: scope.name, headers, time: record.timeUnixNano,
        severity: record.severityText, span: [record.traceId, record.spanId, record.flags], attributes: pairs(record.attributes), body: plain(record.body),
      }))));
}

http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const answer = (code, body) => response.writeHead(code, { "content-type": "application/json" }).end(body);
    if (refusals > 0) {
      refusals -= 1;
      if (Number(status) !== 0) answer(Number(status), "{}");
      return;
    }
    if (request.method !== "POST" || request.url !== "/v1/logs") return answer(404, "{}");
    let accepted;
    try {
      accepted = records(decode(Buffer.concat(chunks).toString()), request.headers);
    } catch (error) {
      fs.appendFileSync(log, JSON.stringify({ fault: String(error) }) + "\n");
      return answer(400, "{}");
    }
    const partial = status === "partial" ? { rejectedLogRecords: "1", errorMessage: "as asked" } : undefined;
    if (partial) accepted.pop();
    fs.appendFileSync(log, accepted.map((record) => JSON.stringify(record) + "\n").join(""));
    answer(200, JSON.stringify(partial ? { partialSuccess: partial } : {}));
  });
}).listen(Number(port), "127.0.0.1", function () {
  console.log(this.address().port);
});
