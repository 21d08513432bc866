import { expect, it } from 'vitest'
import { run } from '../whole/program.ts'

it('says in one line that dead letters are in Kafka only where there is one', async () => {
  const { code, stdout, stderr } = await run(['dlq', 'list'])
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toMatch(/^feedgate: KAFKA_BROKERS is not set: .*\n$/)
})

it('says in one line that Kafka does not answer', async () => {
  const { code, stderr } = await run(['dlq', 'list'], { KAFKA_BROKERS: '127.0.0.1:1' })
  expect(code).toBe(1)
  expect(stderr).toMatch(/^feedgate: Kafka does not answer: .*\n$/)
})
