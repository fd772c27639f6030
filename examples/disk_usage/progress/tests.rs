use std::io;
use std::sync::Mutex;

use indicatif::TermLike;

use super::*;

/// What can be seen: lines that stay, and the one that the cursor is on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen(Arc<Mutex<(Vec<String>, String)>>);

impl Screen {
    /// A terminal.
    pub(crate) fn live() -> (Self, Progress) {
        let screen = Self::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let progress = Progress::new(Some(target), screen.notes());
        (screen, progress)
    }

    /// A file, or a pipe.
    pub(crate) fn plain() -> (Self, Progress) {
        let screen = Self::default();
        let progress = Progress::new(None, screen.notes());
        (screen, progress)
    }

    fn notes(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let screen = self.clone();
        move |line| screen.write_line(line).expect("it is in memory")
    }

    fn change(&self, change: impl FnOnce(&mut Vec<String>, &mut String)) -> io::Result<()> {
        let mut shown = self.0.lock().expect("nobody panics");
        let (lines, current) = &mut *shown;
        change(lines, current);
        Ok(())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics").0.clone()
    }

    /// The live line, without the spinner before it.
    pub(crate) fn current(&self) -> String {
        let shown = self.0.lock().expect("nobody panics");
        shown.1.trim_end().trim_start_matches(|c: char| !c.is_ascii()).trim_start().to_owned()
    }
}

/// It has one live line, which is where the cursor stays.
impl TermLike for Screen {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.change(|lines, current| {
            current.push_str(text);
            lines.push(std::mem::take(current));
        })
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|_, current| current.push_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.change(|_, current| current.clear())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_line_says_how_far_it_has_come_and_how_fast() {
    let tally = Tally::default();
    assert_eq!(line(&tally, Duration::ZERO, 80), "0 files, 0 B, 0/s, 0.0 s");
    assert_eq!(line(&tally, SECOND * 90, 80), "0 files, 0 B, 0/s, 90.0 s");
    tally.count_failure();
    assert_eq!(line(&tally, SECOND * 90, 80), "0 files, 0 B, 0/s, 90.0 s, 1 unreadable");
}

#[test]
fn on_a_terminal_the_line_is_written_over_and_what_is_said_stands_above_it() {
    let (screen, progress) = Screen::live();
    let tally = Tally::default();
    progress.show(&tally, Duration::ZERO);
    assert_eq!(screen.current(), "0 files, 0 B, 0/s, 0.0 s");
    progress.show(&tally, SECOND);
    assert_eq!((screen.lines(), screen.current()), (vec![], "0 files, 0 B, 0/s, 1.0 s".to_owned()));
    progress.say("disk_usage: cannot read");
    assert_eq!(screen.lines(), ["disk_usage: cannot read"]);
    assert_eq!(screen.current(), "0 files, 0 B, 0/s, 1.0 s");
    progress.clear();
    assert_eq!(screen.current(), "");
    assert_eq!(screen.lines().len(), 1);
}

#[test]
fn elsewhere_each_line_stays_and_the_start_is_not_worth_one() {
    let (screen, progress) = Screen::plain();
    let tally = Tally::default();
    progress.show(&tally, Duration::ZERO);
    assert!(screen.lines().is_empty());
    progress.show(&tally, SECOND * 5);
    progress.say("disk_usage: cannot read");
    progress.clear();
    assert_eq!(screen.lines(), ["0 files, 0 B, 0/s, 5.0 s", "disk_usage: cannot read"]);
}
