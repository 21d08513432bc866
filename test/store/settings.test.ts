import { describe, expect, it } from 'vitest'
import { createPostgresStore } from '../../src/store/postgres.ts'
import { checkStoreSettings, DEFAULT_STORE_SETTINGS } from '../../src/store/settings.ts'

describe('settings of the store', () => {
  it('are accepted as they are by default', () => {
    checkStoreSettings(DEFAULT_STORE_SETTINGS)
    checkStoreSettings({ ...DEFAULT_STORE_SETTINGS, compressAfter: 'off', retainEvents: '4d' })
    checkStoreSettings({ ...DEFAULT_STORE_SETTINGS, retainEvents: '90d', retainCandles: '13w' })
  })

  it.each([
    // A refresh of trades that are gone deletes their candles.
    [{ refreshWindow: '3d', retainEvents: '2d' }, 'retainEvents', '"2d"'],
    [{ refreshWindow: '3d', retainEvents: '72h' }, 'retainEvents', '"72h"'],
    [{ retainEvents: '90d', retainCandles: '30d' }, 'retainCandles', '"30d"'],
    [{ retainEvents: 'off', retainCandles: '30d' }, 'retainCandles', '"30d"'],
    [{ refreshWindow: '8d' }, 'compressAfter', '"7d"'],
    [{ refreshWindow: '6h' }, 'refreshWindow', '"6h"'],
  ])('that lose data are refused before anything is opened: %j', (changed, name, value) => {
    const settings = { ...DEFAULT_STORE_SETTINGS, ...changed }
    const refusal = expect.objectContaining({
      code: 'bad-setting',
      message: expect.stringMatching(
        new RegExp(`^setting store\\.${name} is ${value}: accepted is [^\\n]+$`),
      ),
    })
    expect(() => checkStoreSettings(settings)).toThrow(refusal)
    expect(() => createPostgresStore({ url: 'postgresql://127.0.0.1:1/x', settings })).toThrow(refusal)
  })

  it('refuse a url that is none without repeating it', () => {
    const url = 'postgresql://me:s3cret@host:notaport/x'
    let message = ''
    try {
      createPostgresStore({ url })
    } catch (error) {
      message = String(error)
    }
    expect(message).toMatch(/^FeedgateError: setting DATABASE_URL \(databaseUrl\) is not usable/)
    expect(message).not.toContain('s3cret')
  })
})
