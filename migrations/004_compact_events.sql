-- Trades and tickers in the usual shape are their columns and nothing else; `body` is null then, and is put together when
-- it is read (docs/decisions/0007). What is in no usual shape, and every event of another kind, keeps its `body`.
alter table events_trade
  alter body drop not null,
  add published integer,                        -- published_time - received_time, µs
  add flags text,                               -- separated by commas
  add venue_first bigint, add venue_last bigint;
alter table events_ticker
  alter body drop not null,
  add published integer,
  add flags text,
  add venue_first bigint, add venue_last bigint;

-- Every index costs more than the row itself. Reads over many topics go by topic, in steps of time.
drop index events_ticker_received_time_idx, events_trade_received_time_idx, events_book_received_time_idx,
  events_ohlcv_received_time_idx, events_odds_received_time_idx, events_status_received_time_idx,
  events_source_received_time_idx, events_other_received_time_idx;
drop index events_trade_topic_id_received_time_epoch_seq_idx;
create index on events_trade (topic_id, received_time);
