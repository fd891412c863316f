//! Keeping the file small: expired entries go, then those written longest ago, then the pages they leave behind.
//!
//! Every step is small, so that writes never wait long for it. Runs on the writer's thread.

use rusqlite::Connection;

/// Entries one step deletes at most.
const STEP_ENTRIES: i64 = 256;
/// Bytes of entries one step deletes at most, beyond the first entry: each page of a large one is touched.
const STEP_BYTES: i64 = 8 << 20;
/// Steps one write makes at most to get below the cap; the rest follows in the background.
const STEPS_PER_WRITE: usize = 64;
/// Pages one step gives back to the file system at most.
const STEP_PAGES: i64 = 512;
/// Free pages worth keeping for the next writes.
const SPARE_PAGES: i64 = 512;

const EXPIRED: &str =
    "SELECT written, length(bytes) FROM entries WHERE expires_ms <= ?2 ORDER BY expires_ms LIMIT ?1";
// `?2` is unused here; it keeps the two queries alike.
const OLDEST: &str = "SELECT written, length(bytes) FROM entries WHERE ?2 = ?2 ORDER BY written LIMIT ?1";

/// Bytes in pages that hold something.
pub(super) fn bytes_in_use(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok((pages * pragma(connection, "page_size")?).cast_unsigned())
}

/// How many entries there are.
pub(super) fn entries(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT entries FROM counts")?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(|n| n.max(0).cast_unsigned())
}

/// Adds to the number of entries.
pub(super) fn count(connection: &Connection, change: i64) -> rusqlite::Result<()> {
    if change != 0 {
        connection.prepare_cached("UPDATE counts SET entries = entries + ?1")?.execute([change])?;
    }
    Ok(())
}

/// Deletes some expired entries, and says how many.
pub(super) fn reclaim_step(connection: &Connection, now_ms: u64) -> rusqlite::Result<u64> {
    delete_step(connection, EXPIRED, i64::try_from(now_ms).unwrap_or(i64::MAX))
}

/// Deletes the oldest entries until the cap holds, or enough was done for one write. Says how many.
pub(super) fn make_room(connection: &Connection, bytes_max: u64) -> rusqlite::Result<u64> {
    let mut evicted = 0;
    for _ in 0..STEPS_PER_WRITE {
        if bytes_in_use(connection)? <= bytes_max {
            break;
        }
        match delete_step(connection, OLDEST, 0)? {
            0 => break,
            n => evicted += n,
        }
    }
    Ok(evicted)
}

/// Whether so much of the file is free that some of it should go back.
pub(super) fn is_slack(connection: &Connection) -> rusqlite::Result<bool> {
    let (pages, free) = (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
    Ok(free > SPARE_PAGES.max(pages / 4))
}

/// Gives some free pages back to the file system. Not inside a transaction.
pub(super) fn vacuum_step(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut rows = statement.query([])?;
    // One page is freed per row.
    while rows.next()?.is_some() {}
    Ok(())
}

fn delete_step(connection: &Connection, which: &str, argument: i64) -> rusqlite::Result<u64> {
    let victims = {
        let mut statement = connection.prepare_cached(which)?;
        let mut rows = statement.query([STEP_ENTRIES, argument])?;
        let (mut victims, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            bytes += row.get::<_, i64>(1)?;
            if bytes > STEP_BYTES && !victims.is_empty() {
                break;
            }
            victims.push(row.get::<_, i64>(0)?);
        }
        victims
    };
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE written = ?1")?;
    let mut deleted = 0;
    for victim in victims {
        deleted += delete.execute([victim])?;
    }
    count(connection, -(deleted as i64))?;
    Ok(deleted as u64)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
}
