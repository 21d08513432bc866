import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Spill } from '../../src/bus/spill.ts'
import { freshTopic, tradesOf } from '../contracts/events.ts'

const folder = () => join(mkdtempSync(join(tmpdir(), 'feedgate-spill-')), 'spill')
const seqs = (events: readonly { seq: number }[]) => events.map((event) => event.seq)

/** Reads and drops all. */
function drain(spill: Spill): number[] {
  const all: number[] = []
  while (!spill.empty) {
    all.push(...seqs(spill.read()))
    spill.drop()
  }
  return all
}

describe('the spill', () => {
  it('gives what was appended in its order, over many files, and leaves none behind', () => {
    const path = folder()
    const spill = new Spill(path, 1 << 30)
    const events = tradesOf(freshTopic('trades'), 12_000)
    for (let i = 0; i < events.length; i += 3_000) spill.append(events.slice(i, i + 3_000))
    expect(readdirSync(path).length).toBeGreaterThan(2)
    expect(drain(spill)).toEqual(seqs(events))
    expect(readdirSync(path)).toEqual([])
    expect(spill.bytes).toBe(0)
  })

  it('gives a later process what an earlier one left, and what comes after it', () => {
    const path = folder()
    const events = tradesOf(freshTopic('trades'), 30)
    new Spill(path, 1 << 30).append(events.slice(0, 20))
    const spill = new Spill(path, 1 << 30)
    expect(spill.bytes).toBeGreaterThan(0)
    spill.append(events.slice(20))
    expect(drain(spill)).toEqual(seqs(events))
  })

  it('takes new events behind a file that is being read', () => {
    const spill = new Spill(folder(), 1 << 30)
    const events = tradesOf(freshTopic('trades'), 20)
    spill.append(events.slice(0, 10))
    expect(seqs(spill.read())).toEqual(seqs(events.slice(0, 10)))
    spill.append(events.slice(10))
    spill.drop()
    expect(drain(spill)).toEqual(seqs(events.slice(10)))
  })

  it('leaves out a line that the end of its process tore', () => {
    const path = folder()
    const events = tradesOf(freshTopic('trades'), 3)
    new Spill(path, 1 << 30).append(events)
    appendFileSync(join(path, readdirSync(path)[0]!), 'venue|trades|X\ttrade\t1,')
    expect(drain(new Spill(path, 1 << 30))).toEqual([1, 2, 3])
  })

  it('is full at its bound, and not before', () => {
    const spill = new Spill(folder(), 1_000)
    const events = tradesOf(freshTopic('trades'), 10)
    spill.append(events.slice(0, 1))
    expect(spill.full).toBe(false)
    spill.append(events.slice(1))
    expect(spill.full).toBe(true)
    spill.read()
    spill.drop()
    expect(spill.full).toBe(false)
  })

  it('takes all of a publish or nothing, when the disk refuses it', () => {
    const path = folder()
    const spill = new Spill(path, 1 << 30)
    rmSync(path, { recursive: true })
    writeFileSync(path, 'no folder')
    expect(() => spill.append(tradesOf(freshTopic('trades'), 2))).toThrow(/ENOTDIR/)
    expect([spill.empty, spill.bytes]).toEqual([true, 0])
  })
})
