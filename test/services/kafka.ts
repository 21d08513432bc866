import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { type Engine, givenEngine, onPath, ownEngine, Unavailable } from './engine.ts'
import { accepts, freePort, ServerProcess, serverFolder } from './processes.ts'

const POM = join(import.meta.dirname, 'kafka/pom.xml')
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
const HEAP = ['-Xms256m', '-Xmx512m', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=5']
/** Any 16 bytes in base64url. */
const CLUSTER_ID = 'ZmVlZGdhdGUtdGVzdHMtMQ'

const execute = promisify(execFile)

export function kafkaVersion(): string {
  return readFileSync(POM, 'utf8').match(/kafka_2\.13<\/artifactId>\s*<version>([^<]+)/)![1]!
}

export async function startKafka(): Promise<Engine> {
  const given = process.env.KAFKA_BROKERS
  if (given) return givenKafka(given)
  const java = onPath('java')
  if (!java) {
    throw new Unavailable(
      'java is not here: apt-get install default-jre-headless maven, or set KAFKA_BROKERS',
    )
  }
  const jars = join(await broker(), '*')
  const folder = serverFolder('kafka')
  const [port, controllerPort] = [await freePort(), await freePort()]
  const settings = join(folder, 'server.properties')
  writeFileSync(settings, properties(folder, port, controllerPort))
  await execute(java, ['-cp', jars, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', settings])
  const server = new ServerProcess({
    command: java,
    args: [
      ...HEAP,
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-Dorg.slf4j.simpleLogger.showDateTime=true',
      ...['-cp', jars, 'kafka.Kafka', settings],
    ],
    folder,
    // The broker opens its port when it can be used.
    ready: () => accepts(port),
  })
  await server.start()
  const origin = `Apache Kafka ${kafkaVersion()} from Maven Central`
  return ownEngine({ name: 'kafka', url: `127.0.0.1:${port}`, origin }, server)
}

/** The folder of the broker's jars: fetched once by Maven, then kept in the user's cache. */
async function broker(): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'feedgate')
  const folder = join(cache, `kafka-${kafkaVersion()}`)
  if (existsSync(folder)) return folder
  const maven = onPath('mvn')
  if (!maven) throw new Unavailable('mvn is not here: apt-get install maven, or set KAFKA_BROKERS')
  mkdirSync(cache, { recursive: true })
  const fetched = mkdtempSync(`${folder}-`)
  try {
    await execute(maven, [
      '-q',
      '-B',
      '-f',
      POM,
      COPY,
      '-DincludeScope=runtime',
      `-DoutputDirectory=${fetched}`,
    ])
    renameSync(fetched, folder)
  } catch (error) {
    rmSync(fetched, { recursive: true, force: true })
    // Another run may have been first.
    if (!existsSync(folder)) throw error
  }
  return folder
}

/** One node that is broker and controller. After a kill -9 it is back when its old session has run out: 3 s, not 9. */
function properties(folder: string, port: number, controllerPort: number): string {
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': false,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

/** The tests delete the topics they find: a broker that has some is not taken. */
async function givenKafka(url: string): Promise<Engine> {
  const topics = await administer(url, topicsOf)
  if (topics.length > 0) {
    throw new Error(
      `KAFKA_BROKERS has topics (${topics[0]}, …), which the tests would delete: give an empty one`,
    )
  }
  return givenEngine('kafka', url, 'KAFKA_BROKERS', () => emptyKafka({ url }))
}

/** A member that was killed is missed after its session, 6 s. */
const MEMBERS_LEAVE_MS = 20_000

/** Deletes all topics and consumer groups; no consumer may run. */
export function emptyKafka({ url }: Pick<Engine, 'url'>): Promise<void> {
  return administer(url, async (admin) => {
    await deleteGroups(admin)
    const topics = await topicsOf(admin)
    if (topics.length > 0) await admin.deleteTopics({ topics })
  })
}

async function deleteGroups(admin: Admin): Promise<void> {
  const deadline = performance.now() + MEMBERS_LEAVE_MS
  for (;;) {
    const { groups } = await admin.listGroups()
    if (groups.length === 0) return
    try {
      await admin.deleteGroups(groups.map(({ groupId }) => groupId))
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((resume) => setTimeout(resume, 500))
    }
  }
}

async function topicsOf(admin: Admin): Promise<string[]> {
  return (await admin.listTopics()).filter((topic) => !topic.startsWith('__'))
}

async function administer<T>(url: string, act: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: url.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    return await act(admin)
  } finally {
    await admin.disconnect()
  }
}
