// npm run docs:validate: starts the built program, takes /asyncapi.json and /docs/json as it serves them, and asks the
// official validators. One line each; exit code 1 on an error or a warning.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const WORST = ['error', 'warning', 'note', 'hint']

if (!existsSync(PROGRAM) || !existsSync(new URL('node_modules', import.meta.url))) {
  console.error('first: npm ci && npm ci --prefix scripts/validators')
  process.exit(2)
}

/** What the parser of the AsyncAPI Initiative has to say. */
async function asyncApiFindings(document) {
  const { Parser } = await import('@asyncapi/parser')
  const diagnostics = await new Parser().validate(JSON.stringify(document))
  return diagnostics
    .filter(({ severity }) => severity <= 1)
    .map(({ severity, path, message }) => `${WORST[severity]} at ${path.join('.')}: ${message}`)
}

/** What the schema of the OpenAPI Initiative has to say, references included, and of schema objects that of JSON Schema. */
async function openApiFindings(document) {
  const { Validator } = await import('@seriousme/openapi-schema-validator')
  const { default: Ajv2020 } = await import('ajv/dist/2020.js')
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  const found = valid ? [] : [errors].flat()
  const require = createRequire(import.meta.url)
  const { $id, ...official } = require('@seriousme/openapi-schema-validator/schemas/v3.1/schema.json')
  // The official schema leaves schema objects to their dialect: here, as in its `schema-base`, they are looked at too.
  official.$defs.schema = { $ref: 'https://json-schema.org/draft/2020-12/schema' }
  const ajv = new Ajv2020({ strict: false, validateFormats: false })
  if (!ajv.validate(official, document)) found.push(...ajv.errors)
  return found.map((error) =>
    typeof error === 'string' ? error : `error at ${error.instancePath}: ${error.message}`,
  )
}

async function say(what, document, version, findings) {
  const found = await findings(document)
  console.log(`${what} ${version}: ${found.length === 0 ? 'valid, no warnings' : `${found.length} findings`}`)
  for (const finding of found) console.log(`  ${finding}`)
  if (found.length > 0) process.exitCode = 1
}

const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-validate-'))
const program = spawn(process.execPath, [PROGRAM, 'start'], {
  env: { PATH: process.env.PATH, PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'fatal' },
  cwd: dataDir,
  stdio: ['ignore', 'pipe', 'inherit'],
})
const ended = once(program, 'exit')
try {
  let url
  for await (const line of createInterface(program.stdout)) {
    url = /ready at (\S+)\//.exec(line)?.[1]
    if (url) break
  }
  if (!url) throw new Error('the program did not start')
  const get = async (path) => (await fetch(url + path)).json()
  const asyncApi = await get('/asyncapi.json')
  const openApi = await get('/docs/json')
  await say('/asyncapi.json, AsyncAPI', asyncApi, asyncApi.asyncapi, asyncApiFindings)
  await say('/docs/json, OpenAPI', openApi, openApi.openapi, openApiFindings)
} finally {
  program.kill()
  await ended
  rmSync(dataDir, { recursive: true, force: true })
}
