use std::sync::Arc;

use penstock_config::Window;
use penstock_policies::limits::LeaseWindow;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Client, Commands as _, Connection};

use super::*;
use crate::ledger::{Counter, Ledger, Told};
use crate::server::Redis;

use self::model::Model;

mod model;

const HOLDERS: [&str; 3] = ["a", "b", "c"];
/// What the ledger tells counters apart by; the frame is what the script goes by.
const WINDOW: LeaseWindow = LeaseWindow::Window(Window::Now);
const CASES: u32 = 200;
/// In microseconds. Within it, holders are silent for longer than they are remembered.
const MONTH: u64 = 2_592_000_000_000;
/// Nothing is on its way for so many microseconds.
const LATEST: u64 = 3_600_000_000;

/// What may happen.
#[derive(Debug, Clone)]
enum Event {
    /// A holder calls.
    Call { holder: usize, need: u64, more: u64, debt: u64, returned_percent: u64, fate: Fate },
    /// A call of this holder arrives that it gave up.
    Late { holder: usize },
    /// Time passes, in thousandths of the window.
    Pass(u64),
    /// Nobody calls for so many seconds.
    Silence(u64),
    /// The server's clock steps back.
    StepBack(u64),
    /// The server loses what it has.
    Forget,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It is executed, and its answer is lost.
    AnswerLost,
    /// It is on its way when the holder gives it up.
    Delayed,
}

/// Gateways and a server, and beside it the model that the server has to be like.
struct World {
    connection: Connection,
    script: Script,
    model: Model,
    frame: Frame,
    amount: u64,
    now: u64,
    sequence: u64,
    key: Arc<str>,
    holders: [Holder; 3],
    /// Whether the server has lost what it had, of which it hears by and by.
    is_forgetful: bool,
}

#[derive(Default)]
struct Holder {
    ledger: Ledger,
    outstanding: u64,
    delayed: Option<(u64, Plan)>,
    /// What was told without an answer, debt and what is given back, and is told again until there is one.
    told: Option<(u64, u64)>,
    /// What is used beyond what was lent, as the server has answered it, and in which window.
    debts: u64,
    window: u64,
}

/// What a call is made of.
#[derive(Debug, Clone, Copy)]
struct Plan {
    need: u64,
    want: u64,
    debt: u64,
    give_back: u64,
    booked: Booked,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_does_what_the_model_does_whatever_is_lost_late_or_forgotten() {
    let redis = Redis::start().await;
    let client = Client::open(format!("redis://{}/", redis.address())).expect("an address");
    tokio::task::spawn_blocking(move || {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let strategy = (any_frame(), 0u64..500, prop::collection::vec(any_event(), 1..40));
        let result = TestRunner::new(config).run(&strategy, |(frame, amount, events)| {
            let mut world = World::new(&client, frame, amount);
            for event in events {
                world.happen(&event)?;
            }
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    })
    .await
    .expect("the test");
}

#[tokio::test]
async fn amounts_up_to_two_to_the_53_are_counted_exactly() {
    let redis = Redis::start().await;
    let client = Client::open(format!("redis://{}/", redis.address())).expect("an address");
    tokio::task::spawn_blocking(move || {
        let mut world = World::new(&client, Frame::Bucket(Duration::from_hours(720)), MAX_AMOUNT / 2);
        for need in [MAX_AMOUNT / 2 - 1, 1, 1] {
            world.happen(&call(0, need, Fate::Answered)).expect("as the model");
            world.now += 1;
        }
        world.now += Duration::from_hours(700).as_micros() as u64 + 12_345;
        world.happen(&call(1, MAX_AMOUNT / 3, Fate::Answered)).expect("as the model");
    })
    .await
    .expect("the test");
}

#[tokio::test]
async fn what_was_given_back_before_a_long_silence_is_not_given_back_again() {
    let redis = Redis::start().await;
    let client = Client::open(format!("redis://{}/", redis.address())).expect("an address");
    tokio::task::spawn_blocking(move || {
        for seconds in [61, 100_000] {
            let mut world = World::new(&client, Frame::Fixed(Duration::from_hours(24 * 365)), 100);
            let give_back =
                |fate| Event::Call { holder: 0, need: 0, more: 0, debt: 0, returned_percent: 100, fate };
            for event in [
                call(0, 10, Fate::Answered),
                call(1, 60, Fate::Answered),
                give_back(Fate::AnswerLost),
                Event::Silence(seconds),
                call(1, 0, Fate::Answered),
                give_back(Fate::Answered),
            ] {
                world.happen(&event).expect("as the model");
            }
            assert_eq!(world.model.counted(world.frame), 60, "after {seconds} s");
        }
    })
    .await
    .expect("the test");
}

#[test]
fn counters_of_a_document_are_in_its_scope_and_those_of_an_owner_outside_of_it() {
    let key = |key: &str, scope: Option<&str>| {
        let booked = Booked::default();
        let call = Call {
            key,
            holder: "a",
            sequence: 1,
            frame: Frame::Now,
            amount: 1,
            need: 1,
            want: 1,
            give_back: 0,
            debt: 0,
            booked,
        };
        let store = RedisSpec { scope: scope.map(Into::into), ..store() };
        let command = call.command(&Script::new(TEXT), &store);
        let key = command.args_iter().nth(3).map(|arg| match arg {
            redis::Arg::Simple(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        });
        key.expect("a key")
    };
    assert_eq!(key("tenants/a/00ff", None), "test:{tenants/a/00ff}:n");
    assert_eq!(key("tenants/a/00ff", Some("ns.gw")), "test:ns.gw:{tenants/a/00ff}:n");
    for scope in [None, Some("ns.gw"), Some("ns.other")] {
        assert_eq!(key("as:quota.azure/a/00ff", scope), "test:{as:quota.azure/a/00ff}:n");
    }
}

fn store() -> RedisSpec {
    RedisSpec {
        addresses: [].into(),
        mode: penstock_config::RedisMode::Single,
        database: 0,
        username: None,
        password_file: None,
        tls: None,
        deadline: Duration::from_millis(20),
        key_prefix: "test".into(),
        scope: None,
    }
}

fn call(holder: usize, need: u64, fate: Fate) -> Event {
    Event::Call { holder, need, more: 0, debt: 0, returned_percent: 0, fate }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let length =
        prop::sample::select(vec![59u64, 1_000_003, 60_000_000, MONTH]).prop_map(Duration::from_micros);
    prop_oneof![
        length.clone().prop_map(Frame::Bucket),
        length.clone().prop_map(Frame::Sliding),
        length.prop_map(Frame::Fixed),
        Just(Frame::Calendar { period: Period::Day, begins: 0, ends: 0, next_ends: 0 }),
        Just(Frame::Now),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![6 => Just(Fate::Answered), 2 => Just(Fate::AnswerLost), 1 => Just(Fate::Delayed)];
    let debt = prop_oneof![4 => Just(0u64), 1 => 1u64..200];
    let returned = prop_oneof![2 => Just(0u64), 1 => 1u64..=100];
    let call = (0..HOLDERS.len(), 0u64..200, 0u64..200, debt, returned, fate).prop_map(
        |(holder, need, more, debt, returned_percent, fate)| Event::Call {
            holder,
            need,
            more,
            debt,
            returned_percent,
            fate,
        },
    );
    prop_oneof![
        24 => call,
        4 => (0..HOLDERS.len()).prop_map(|holder| Event::Late { holder }),
        10 => prop_oneof![(0u64..100), (100u64..2500)].prop_map(Event::Pass),
        2 => prop_oneof![(30u64..4000), (86_300u64..200_000)].prop_map(Event::Silence),
        2 => (1u64..1500).prop_map(Event::StepBack),
        1 => Just(Event::Forget),
    ]
}

impl World {
    fn new(client: &Client, frame: Frame, amount: u64) -> Self {
        let mut connection = client.get_connection().expect("a connection");
        let () = redis::cmd("FLUSHALL").query(&mut connection).expect("an empty server");
        let clock = "redis.call('TIME')";
        assert_eq!(TEXT.matches(clock).count(), 1, "the script asks for the time once");
        let script = Script::new(&TEXT.replace(clock, "redis.call('HMGET', 'clock', 's', 'us')"));
        script.load(&mut connection).expect("a script");
        Self {
            connection,
            script,
            model: Model::default(),
            frame,
            amount,
            now: 1_800_000_000_000_000,
            sequence: 0,
            key: "policy/limit/00ff".into(),
            holders: Default::default(),
            is_forgetful: false,
        }
    }

    fn length(&self) -> u64 {
        match self.frame {
            Frame::Bucket(length) | Frame::Sliding(length) | Frame::Fixed(length) => {
                u64::try_from(length.as_micros()).expect("a length")
            }
            Frame::Calendar { .. } => 86_400_000_000,
            Frame::Now => 10_000_000,
        }
    }

    /// The frame as gateways have it, whose clocks are right.
    fn frame_now(&self) -> Frame {
        let Frame::Calendar { period, .. } = self.frame else { return self.frame };
        let begins = self.now / self.length() * self.length();
        Frame::Calendar {
            period,
            begins,
            ends: begins + self.length(),
            next_ends: begins + 2 * self.length(),
        }
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Pass(thousandths) => self.pass(self.length() * thousandths / 1000),
            Event::StepBack(thousandths) => self.now -= (self.length() * thousandths / 1000).min(60_000_000),
            Event::Forget => {
                let () = redis::cmd("FLUSHDB").query(&mut self.connection).expect("an empty server");
                self.model = Model::default();
                self.is_forgetful = true;
            }
            Event::Silence(seconds) => self.pass(seconds * 1_000_000),
            Event::Late { holder } => {
                if let Some((sequence, plan)) = self.holders[holder].delayed.take() {
                    self.execute(holder, sequence, plan)?;
                }
            }
            Event::Call { holder, need, more, debt, returned_percent, fate } => {
                let (sequence, plan) = self.plan(holder, need, more, (debt, returned_percent));
                let it = &mut self.holders[holder];
                if fate == Fate::Delayed {
                    it.ledger.give_up(&self.key);
                    it.delayed = Some((sequence, plan));
                    return Ok(());
                }
                let answer = self.execute(holder, sequence, plan)?;
                match (fate, answer) {
                    (Fate::Answered, Answer::Lent(lent)) => self.learn(holder, sequence, plan, &lent),
                    _ => self.holders[holder].ledger.give_up(&self.key),
                }
                self.check()?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, microseconds: u64) {
        self.now += microseconds;
        if microseconds > LATEST {
            self.holders.iter_mut().for_each(|holder| holder.delayed = None);
        }
    }

    /// The next call of a holder: what it told without an answer, it tells again.
    fn plan(&mut self, holder: usize, need: u64, more: u64, (debt, percent): (u64, u64)) -> (u64, Plan) {
        self.sequence += 1;
        let (sequence, frame, now) = (self.sequence, self.frame_now(), self.now);
        let it = &mut self.holders[holder];
        let counter = Counter { key: &self.key, window: &WINDOW, amount: self.amount, is_reminder: false };
        let mut booked = it.ledger.open(counter, frame, sequence, now).expect("it is no reminder");
        if frame == Frame::Now {
            booked.amount = it.outstanding - it.outstanding * percent / 100;
            return (sequence, Plan { need, want: need + more, debt, give_back: 0, booked });
        }
        let give_back = it.outstanding * percent / 100;
        let (debt, give_back) = *it.told.get_or_insert((debt, give_back));
        (sequence, Plan { need, want: need + more, debt, give_back, booked })
    }

    /// In windows from which nothing flows, as much is counted as holders have and had, whatever happened but a loss of all.
    fn check(&self) -> Result<(), TestCaseError> {
        if self.is_forgetful || !matches!(self.frame, Frame::Fixed(_) | Frame::Calendar { .. }) {
            return Ok(());
        }
        let in_window = self.holders.iter().filter(|holder| holder.window == self.model.window);
        // What is given back without an answer is not the holder's any more.
        let has = in_window.map(|holder| {
            let given = holder.told.map_or(0, |(_, give_back)| give_back);
            holder.outstanding.saturating_sub(given) + holder.debts
        });
        let (has, counted) = (has.sum::<u64>(), self.model.counted(self.frame));
        prop_assert!(has <= counted, "holders have {}, and {} is counted", has, counted);
        Ok(())
    }

    fn execute(&mut self, holder: usize, sequence: u64, plan: Plan) -> Result<Answer, TestCaseError> {
        let call = Call {
            key: &self.key,
            holder: HOLDERS[holder],
            sequence,
            frame: self.frame_now(),
            amount: self.amount,
            need: plan.need,
            want: plan.want,
            give_back: plan.give_back,
            debt: plan.debt,
            booked: plan.booked,
        };
        let clock = [("s", self.now / 1_000_000), ("us", self.now % 1_000_000)];
        let () = self.connection.hset_multiple("clock", &clock).expect("a clock");
        let answer: Answer = call
            .command(&self.script, &store())
            .query(&mut self.connection)
            .expect("an answer of the script");
        prop_assert_eq!(answer, self.model.call(&call, self.now), "{:?} at {}", call, self.now);
        if let Answer::Lent(lent) = answer {
            prop_assert!(lent.lease == 0 || lent.lease >= plan.need);
            prop_assert!(lent.lease <= plan.want && lent.lease + lent.left <= self.amount);
        }
        Ok(answer)
    }

    fn learn(&mut self, holder: usize, sequence: u64, plan: Plan, lent: &Lent) {
        let it = &mut self.holders[holder];
        let kept = match self.frame {
            Frame::Now => plan.booked.amount + plan.debt,
            Frame::Fixed(_) | Frame::Calendar { .. } if plan.booked.window != lent.window => 0,
            _ => it.outstanding - plan.give_back.min(it.outstanding),
        };
        it.outstanding = kept + lent.lease;
        let before = if it.window == lent.window { it.debts } else { 0 };
        (it.debts, it.window, it.told) = (before + plan.debt, lent.window, None);
        let told = Told { sequence, debt: plan.debt, give_back: plan.give_back };
        it.ledger.close(&self.key, self.frame, told, lent);
    }
}
