'use strict';

// Reads {endpoint, id, secret, token, client, calls: [{version, action, params,
// method}]} from standard input, makes the calls one after the other with a
// client of another maker, and writes what came of each as JSON:
// {ok, body} or {ok: false, status, code, message}.

const RPCClient = require('@alicloud/pop-core').RPCClient;
const alidns = require('@alicloud/alidns20150109');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

const clients = {
  // pop-core signs with HMAC-SHA1 and sends GET, or POST with a form.
  pop(job) {
    const version = (v) => new RPCClient({
      accessKeyId: job.id, accessKeySecret: job.secret, securityToken: job.token || undefined,
      endpoint: 'http://' + job.endpoint, apiVersion: v,
    });
    return async (call) => version(call.version).request(call.action, call.params, { method: call.method || 'GET' });
  },
  // The generated SDK signs with ACS3-HMAC-SHA256.
  generated(job) {
    const client = new alidns.default(new $OpenApiUtil.Config({
      accessKeyId: job.id, accessKeySecret: job.secret, securityToken: job.token || undefined,
      endpoint: job.endpoint, protocol: 'HTTP', regionId: 'cn-hangzhou',
    }));
    return async (call) => {
      const name = call.action[0].toLowerCase() + call.action.slice(1);
      const answer = await client[name](new alidns[call.action + 'Request'](call.params));
      return answer.body;
    };
  },
};

function failure(e) {
  const status = e.statusCode || (e.data && (e.data.statusCode || e.data.httpStatus)) || (e.entry && e.entry.response && e.entry.response.statusCode) || 0;
  return { ok: false, status: Number(status), code: String(e.code || ''), message: String(e.message || e) };
}

async function main() {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  const job = JSON.parse(text);
  const run = clients[job.client](job);
  const out = [];
  for (const call of job.calls) {
    try {
      out.push({ ok: true, body: await run(call) });
    } catch (e) {
      out.push(failure(e));
    }
  }
  // Idle connections would keep the process.
  process.stdout.write(JSON.stringify(out), () => process.exit(0));
}

main();
