'use strict';

// Reads {endpoint, id, secret, calls: [{action, params}]} from standard input,
// makes the calls one after the other with the SDK that the vendor generates
// for the control API, and writes what came of each as JSON: {ok, body} or
// {ok: false, status, code, message}.

const tablestore = require('@alicloud/tablestore20201209');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

async function main() {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  const job = JSON.parse(text);
  const client = new tablestore.default(new $OpenApiUtil.Config({
    accessKeyId: job.id, accessKeySecret: job.secret, endpoint: job.endpoint, protocol: 'HTTP', regionId: 'cn-hangzhou',
  }));
  const out = [];
  for (const call of job.calls) {
    const name = call.action[0].toLowerCase() + call.action.slice(1);
    try {
      const answer = await client[name](new tablestore[call.action + 'Request'](call.params));
      out.push({ ok: true, body: answer.body });
    } catch (e) {
      out.push({ ok: false, status: Number(e.statusCode || 0), code: String(e.code || ''), message: String(e.message || e) });
    }
  }
  // Idle connections would keep the process.
  process.stdout.write(JSON.stringify(out), () => process.exit(0));
}

main();
