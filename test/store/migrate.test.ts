import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { MIGRATIONS, migrate } from '../../src/store/migrate.ts'
import type { Sql } from '../../src/store/store.ts'

let db: PGlite
let sql: Sql
let dir: string
let url: URL

beforeAll(async () => {
  db = await PGlite.create()
  const on = (session: Pick<PGlite, 'query' | 'exec'>): Sql => ({
    async query<Row>(text: string, values?: readonly unknown[]) {
      if (values) return session.query<Row>(text, [...values])
      return { rows: ((await session.exec(text)).at(-1)?.rows ?? []) as Row[] }
    },
    transaction: <T>(work: (tx: Sql) => Promise<T>) =>
      db.transaction((tx) => work(on(tx as unknown as PGlite))),
  })
  sql = on(db)
}, 60_000)
afterAll(() => db?.close())

beforeEach(async () => {
  await db.exec('drop schema public cascade; create schema public')
  dir = mkdtempSync(join(tmpdir(), 'feedgate-migrations-'))
  url = pathToFileURL(`${dir}/`)
  write('001_one.sql', 'create table one (a integer); insert into one values (1);')
  write('002_two.sql', 'create table two (b integer);')
})

const write = (name: string, text: string) => writeFileSync(join(dir, name), text)

describe('migrations', () => {
  it('are applied in order, once', async () => {
    expect(await migrate(sql, url)).toEqual(['001_one.sql', '002_two.sql'])
    expect(await migrate(sql, url)).toEqual([])
    expect((await sql.query('select a from one')).rows).toEqual([{ a: 1 }])
    write('003_three.sql', 'alter table two add c integer')
    expect(await migrate(sql, url)).toEqual(['003_three.sql'])
  })

  it('are all or nothing each: one that fails leaves no trace and can be mended', async () => {
    write('002_two.sql', 'create table two (b integer); select nonsense;')
    await expect(migrate(sql, url)).rejects.toThrow(/nonsense/)
    write('002_two.sql', 'create table two (b integer)')
    expect(await migrate(sql, url)).toEqual(['002_two.sql'])
  })

  it('are the same with the line ends of another system', async () => {
    write('002_two.sql', 'create table two (\n b integer)\n')
    await migrate(sql, url)
    write('002_two.sql', 'create table two (\r\n b integer)\r\n')
    expect(await migrate(sql, url)).toEqual([])
  })

  it('refuse a database to which another text of the same number was applied', async () => {
    await migrate(sql, url)
    write('001_one.sql', 'create table one (a bigint)')
    await expect(migrate(sql, url)).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringMatching(/^migration 001_one\.sql was changed/),
    })
  })

  it('refuse a database that a newer program made', async () => {
    await migrate(sql, url)
    rmSync(join(dir, '002_two.sql'))
    await expect(migrate(sql, url)).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringMatching(/002_two\.sql, newer than this program/),
    })
  })

  it('refuse a number that is missing', async () => {
    write('004_four.sql', 'select 1')
    await expect(migrate(sql, url)).rejects.toThrow(/004_four\.sql is out of order/)
  })

  it('of the program itself make the schema, with the default tenant', async () => {
    expect((await migrate(sql, MIGRATIONS)).length).toBeGreaterThan(0)
    expect((await sql.query('select id, tier from tenants')).rows).toEqual([
      { id: 'default', tier: 'institutional' },
    ])
  })
})
