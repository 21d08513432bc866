-- Where each topic ends. Written with the events, in their transaction: its row is what two recorders would meet at, and
-- an event of a lower epoch comes from an owner that was replaced.
create table topic_heads (
  topic_id       integer primary key,
  epoch          bigint not null,
  seq            bigint not null,
  received_time  timestamptz not null
) with (fillfactor = 50);

-- Inside a topic `received_time` grows with every event, whatever the epoch.
insert into topic_heads (topic_id, epoch, seq, received_time)
  select t.id, newest.epoch, newest.seq, newest.received_time
  from topics t cross join lateral (
    (select epoch, seq, received_time from events_ticker where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_trade where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_book where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_ohlcv where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_odds where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_status where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_source where topic_id = t.id order by received_time desc limit 1)
    union all
    (select epoch, seq, received_time from events_other where topic_id = t.id order by received_time desc limit 1)
  ) newest;
