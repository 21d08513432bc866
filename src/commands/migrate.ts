import { Command } from 'commander'
import { loadConfig } from '../config.ts'
import { findRunningGateway, openCommandFolder } from '../data-dir.ts'
import type { Store } from '../store/store.ts'
import { opened } from './opened.ts'
import { printer } from './printer.ts'

export function migrateCommand(env: Readonly<Record<string, string | undefined>>): Command {
  return new Command('migrate')
    .description('bring the database schema up to date')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: { config?: string; json?: boolean }) => {
      const config = loadConfig(env, options.config)
      const print = printer(options.json)
      if (findRunningGateway(config.dataDir)) {
        print(
          { migrated: true, by: 'gateway' },
          'The running gateway brought the schema up to date at its start.',
        )
        return
      }
      const dataDir = openCommandFolder(config.dataDir, config.databaseUrl)
      let store: Store | undefined
      try {
        const { openStore, SILENT } = await import('../app.ts')
        store = await openStore(config, SILENT)
        await opened(store, config)
        print({ migrated: true, by: 'command' }, 'The schema is up to date.')
      } finally {
        await store?.close()
        dataDir.release()
      }
    })
}
