-- Written for PostgreSQL 15 and later; the same statements serve PGlite, PostgreSQL and TimescaleDB.
--
-- Times are timestamptz: a 64-bit count of microseconds, so exact, and what date_bin, hypertables and people expect.
-- `event_time` is the venue's own time of an event where it gave one, else `received_time`.
-- `body` is the event as it was made at ingest, byte for byte; the other columns are taken from it for queries.

create table topics (
  id         integer generated always as identity primary key,
  name       text collate "C" not null unique,  -- source|channel|subject[|timeframe]
  source     text not null,
  channel    text not null,
  subject    text not null,
  symbol     text not null,                     -- the subject as clients name it: of status without the tenant
  timeframe  text,
  tenant     text
);
create index topics_by_subject on topics (channel, symbol, source);

create table events_ticker (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  bid numeric, bid_size numeric, ask numeric, ask_size numeric, last numeric,
  open numeric, high numeric, low numeric, volume numeric,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_ticker (received_time);

-- A trade is keyed by its own time, so that one backfilled late lands in its candle.
create table events_trade (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  trade_id text, price numeric, size numeric, side text,
  body           text not null,
  unique (topic_id, event_time, epoch, seq)
);
create index on events_trade (topic_id, received_time, epoch, seq);
create index on events_trade (received_time);

create table events_book (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  kind           text,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_book (received_time);

create table events_ohlcv (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  open_time timestamptz, open numeric, high numeric, low numeric, close numeric,
  volume numeric, quote_volume numeric, trades bigint, closed boolean, origin text, revision bigint,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_ohlcv (received_time);
create index on events_ohlcv (topic_id, open_time);

create table events_odds (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  kind text, market_id text, market text, line numeric, phase text, status text,
  selection_id text, selection text, side text, level bigint, odds numeric, size numeric, outcome text,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_odds (received_time);

create table events_status (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  message_id text, status text, channel text,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_status (received_time);

create table events_source (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  state text, reason text, attempt bigint,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_source (received_time);

-- Derivatives and derived channels.
create table events_other (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on events_other (received_time);

-- A gap is an event of the topic it concerns and stands in its table; here all of them are together.
create table gaps (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  event_time     timestamptz not null,
  reason text, from_time timestamptz, to_time timestamptz, repaired_by text,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);
create index on gaps (received_time);

-- Whole books, from which a book at any time is a few thousand deltas away at most. `body` has bids, asks and depth.
create table book_images (
  topic_id       integer not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  body           text not null,
  unique (topic_id, received_time, epoch, seq)
);

-- The newest event of each market and price of an odds event.
create table odds_current (
  topic_id       integer not null,
  key            text not null,
  received_time  timestamptz not null,
  epoch          bigint not null,
  seq            bigint not null,
  body           text not null,
  primary key (topic_id, key)
);

-- Input that could not become a stored event, with its bytes, for people to look at.
create table dead_letters (
  id             bigint generated always as identity primary key,
  source         text not null,
  channel        text,
  subject        text,
  received_time  timestamptz not null,
  reason         text not null,
  bytes          bytea not null,
  recorded_at    timestamptz not null default now()
);
create index on dead_letters (received_time);

-- Where reading of the bus goes on; committed together with the rows that came from there.
create table consumer_offsets (
  name        text primary key,
  position    text not null,
  updated_at  timestamptz not null default now()
);

create table tenants (
  id          text primary key,
  tier        text not null default 'institutional',  -- its ceiling
  created_at  timestamptz not null default now()
);
insert into tenants (id) values ('default');

-- Of a key only its prefix and its SHA-256 (hex) are kept.
create table api_keys (
  id          text primary key,
  prefix      text not null,
  sha256      text not null unique,
  tenant      text not null references tenants (id),
  tier        text not null,
  name        text,
  scope       text,
  created_at  timestamptz not null default now(),
  deleted_at  timestamptz
);

-- For people who use SQL: names instead of ids, and no bookkeeping rows.
create view trades as
  select t.source, t.symbol, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.trade_id as id, e.price, e.size, e.side
  from events_trade e join topics t on t.id = e.topic_id where e.price is not null;

create view tickers as
  select t.source, t.symbol, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.bid, e.bid_size, e.ask, e.ask_size, e.last, e.open, e.high, e.low, e.volume
  from events_ticker e join topics t on t.id = e.topic_id
  where coalesce(e.bid, e.ask, e.last, e.open, e.high, e.low, e.volume) is not null;

create view candles as
  select t.source, t.symbol, t.timeframe, e.open_time as time, e.received_time, e.epoch, e.seq,
         e.open, e.high, e.low, e.close, e.volume, e.quote_volume, e.trades, e.closed, e.origin, e.revision
  from events_ohlcv e join topics t on t.id = e.topic_id where e.open_time is not null;

create view order_book_events as
  select t.source, t.symbol, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.kind, e.body::json -> 'bids' as bids, e.body::json -> 'asks' as asks
  from events_book e join topics t on t.id = e.topic_id where e.kind is not null;

create view odds_prices as
  select t.source, t.symbol as event_id, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.market_id, e.market, e.line, e.selection_id, e.selection, e.side, e.level, e.odds, e.size
  from events_odds e join topics t on t.id = e.topic_id where e.kind = 'price';

create view odds_markets as
  select t.source, t.symbol as event_id, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.market_id, e.market, e.line, e.phase, e.status
  from events_odds e join topics t on t.id = e.topic_id where e.kind = 'market';

create view message_statuses as
  select t.source, t.tenant, t.symbol as conversation_id, e.event_time as time, e.received_time, e.epoch, e.seq,
         e.message_id, e.status, e.channel
  from events_status e join topics t on t.id = e.topic_id where e.message_id is not null;

create view source_states as
  select t.source, e.event_time as time, e.epoch, e.seq, e.state, e.reason, e.attempt
  from events_source e join topics t on t.id = e.topic_id where e.state is not null;

create view known_gaps as
  select t.source, t.channel, t.symbol, t.timeframe, e.from_time, e.to_time, e.reason, e.repaired_by, e.received_time
  from gaps e join topics t on t.id = e.topic_id;
