// The sync engine behind node's own http server: the least that can stand in front of it.
//
// node server.cjs DATABASE SECRET   migrates, listens on a free port and says which, as a line of JSON.
//
// CommonJS, because its ES module build finds no migrations. What would ask Stripe for more is off: the
// bench compares what happens between a webhook and its answer.
'use strict'
const http = require('node:http')
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')

const [databaseUrl, stripeWebhookSecret] = process.argv.slice(2)
const RECEIVED = '{"received":true}'

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

function received(sync, request, response) {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    sync.processWebhook(Buffer.concat(parts), request.headers['stripe-signature']).then(
      () => answer(response, 200, RECEIVED),
      (problem) => answer(response, 400, JSON.stringify({ error: problem.message })),
    )
  })
}

async function main() {
  await runMigrations({ databaseUrl, schema: 'stripe' })
  const sync = new StripeSync({
    poolConfig: { connectionString: databaseUrl, max: 10 },
    stripeSecretKey: 'sk_test_x',
    stripeWebhookSecret,
    autoExpandLists: false,
    backfillRelatedEntities: false,
  })
  const server = http.createServer((request, response) => received(sync, request, response))
  server.keepAliveTimeout = 75_000
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ message: 'listening', port: server.address().port }))
  })
}

main()
