-- Stretches of time that got trades later than aggregates of candles look for them; noted with the trades, in their
-- transaction, and gone when the aggregates hold them. Unused where candles are computed from the trades alone.
create table late_trades (
  id         bigint generated always as identity primary key,
  from_time  timestamptz not null,
  to_time    timestamptz not null               -- inclusive
);

-- Candles of the stored trades, for people who use SQL; on TimescaleDB the same views read continuous aggregates. They
-- count rows; GET /v1/candles counts each trade id once and prefers the venue's own candles.
create view candles_1s as
  select t.source, t.symbol, date_bin('1 second', e.event_time, 'epoch') as time,
         (array_agg(e.price order by e.event_time, e.epoch, e.seq))[1] as open, max(e.price) as high, min(e.price) as low,
         (array_agg(e.price order by e.event_time desc, e.epoch desc, e.seq desc))[1] as close,
         sum(e.size) as volume, count(*) as trades
  from events_trade e join topics t on t.id = e.topic_id where e.price is not null group by 1, 2, 3;

create view candles_1m as
  select t.source, t.symbol, date_bin('1 minute', e.event_time, 'epoch') as time,
         (array_agg(e.price order by e.event_time, e.epoch, e.seq))[1] as open, max(e.price) as high, min(e.price) as low,
         (array_agg(e.price order by e.event_time desc, e.epoch desc, e.seq desc))[1] as close,
         sum(e.size) as volume, count(*) as trades
  from events_trade e join topics t on t.id = e.topic_id where e.price is not null group by 1, 2, 3;

create view candles_1h as
  select t.source, t.symbol, date_bin('1 hour', e.event_time, 'epoch') as time,
         (array_agg(e.price order by e.event_time, e.epoch, e.seq))[1] as open, max(e.price) as high, min(e.price) as low,
         (array_agg(e.price order by e.event_time desc, e.epoch desc, e.seq desc))[1] as close,
         sum(e.size) as volume, count(*) as trades
  from events_trade e join topics t on t.id = e.topic_id where e.price is not null group by 1, 2, 3;
