import { expect, it } from 'vitest'
import { preparedFolder, run } from '../whole/program.ts'

it('makes, lists and deletes grants without a gateway, and keeps them', async () => {
  const env = { DATA_DIR: await preparedFolder() }
  const grant = ['grants', 'create', '--tenant', 'default', '--source', 'paid', '--json']
  const made = await run([...grant, '--channel', 'trades', '--delay-ms', '900000', '--to', '2027-01-01'], env)
  expect(made.code).toBe(0)
  const entry = JSON.parse(made.stdout) as { id: string }
  expect(entry).toMatchObject({ channel: 'trades', delayMs: 900_000, to: '2027-01-01T00:00:00.000Z' })
  expect(JSON.parse((await run(['grants', 'list', '--json'], env)).stdout)).toEqual({ items: [entry] })
  expect(await run(['grants', 'delete', entry.id], env)).toMatchObject({ code: 0 })
}, 120_000)

it.each([
  ['--channel', 'smells'],
  ['--delay-ms', '-5'],
  ['--from', 'yesterday'],
])('says in one line what %s may be', async (option, value) => {
  const { code, stderr } = await run([
    'grants',
    'create',
    '--tenant',
    't',
    '--source',
    's',
    `${option}=${value}`,
  ])
  expect(code).toBe(2)
  expect(stderr).toMatch(new RegExp(`^feedgate: ${option} is ".*": accepted are .*\n$`))
})
