CREATE TABLE company (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    -- Raised by every committed change of the company's appointments.
    version INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE branch (
    id           INTEGER PRIMARY KEY,
    company_id   INTEGER NOT NULL REFERENCES company (id),
    name         TEXT NOT NULL,
    step_minutes INTEGER NOT NULL CHECK (step_minutes BETWEEN 5 AND 1440),
    UNIQUE (company_id, name),
    UNIQUE (id, company_id)
) STRICT;

CREATE TABLE staff (
    id        INTEGER PRIMARY KEY,
    branch_id INTEGER NOT NULL REFERENCES branch (id),
    name      TEXT NOT NULL,
    UNIQUE (branch_id, name),
    UNIQUE (id, branch_id)
) STRICT;

CREATE TABLE service (
    id               INTEGER PRIMARY KEY,
    company_id       INTEGER NOT NULL REFERENCES company (id),
    name             TEXT NOT NULL,
    duration_minutes INTEGER NOT NULL CHECK (duration_minutes BETWEEN 5 AND 1440),
    price_cents      INTEGER NOT NULL CHECK (price_cents >= 0),
    UNIQUE (company_id, name),
    UNIQUE (id, company_id)
) STRICT;

CREATE TABLE opening_hours (
    branch_id INTEGER NOT NULL REFERENCES branch (id),
    weekday   INTEGER NOT NULL CHECK (weekday BETWEEN 0 AND 6),
    opens     INTEGER NOT NULL CHECK (opens BETWEEN 0 AND 1439),
    -- Past 1440: after midnight.
    closes    INTEGER NOT NULL CHECK (closes > opens AND closes <= 2880),
    PRIMARY KEY (branch_id, weekday, opens)
) STRICT, WITHOUT ROWID;

CREATE TABLE appointment (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    company_id  INTEGER NOT NULL,
    branch_id   INTEGER NOT NULL,
    service_id  INTEGER NOT NULL,
    staff_id    INTEGER NOT NULL,
    customer    TEXT NOT NULL CHECK (length(customer) BETWEEN 1 AND 200),
    starts      INTEGER NOT NULL,
    ends        INTEGER NOT NULL CHECK (ends - starts BETWEEN 1 AND 1440),
    status      TEXT NOT NULL CHECK (status IN ('booked', 'cancelled')),
    changes     INTEGER NOT NULL DEFAULT 0,
    booked_at   INTEGER NOT NULL,
    price_cents INTEGER NOT NULL,
    FOREIGN KEY (branch_id, company_id) REFERENCES branch (id, company_id),
    FOREIGN KEY (service_id, company_id) REFERENCES service (id, company_id),
    FOREIGN KEY (staff_id, branch_id) REFERENCES staff (id, branch_id)
) STRICT;

CREATE UNIQUE INDEX appointment_slot ON appointment (staff_id, starts) WHERE status = 'booked';
CREATE INDEX appointment_branch ON appointment (branch_id, starts, ends, staff_id) WHERE status = 'booked';
CREATE INDEX appointment_company ON appointment (company_id);

-- No appointment lasts longer than a day (checked above), so a conflicting one starts within the day before.
CREATE TRIGGER appointment_no_overlap_insert BEFORE INSERT ON appointment
WHEN NEW.status = 'booked' AND EXISTS (
    SELECT 1 FROM appointment AS other
    WHERE other.staff_id = NEW.staff_id AND other.status = 'booked'
      AND other.starts > NEW.starts - 1440 AND other.starts < NEW.ends AND other.ends > NEW.starts
)
BEGIN
    SELECT RAISE(ABORT, 'time already taken');
END;

CREATE TRIGGER appointment_no_overlap_update BEFORE UPDATE ON appointment
WHEN NEW.status = 'booked' AND EXISTS (
    SELECT 1 FROM appointment AS other
    WHERE other.staff_id = NEW.staff_id AND other.status = 'booked' AND other.id <> OLD.id
      AND other.starts > NEW.starts - 1440 AND other.starts < NEW.ends AND other.ends > NEW.starts
)
BEGIN
    SELECT RAISE(ABORT, 'time already taken');
END;

-- One row per day that was ever written; an absent row is version 0.
CREATE TABLE day_version (
    company_id INTEGER NOT NULL,
    branch_id  INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (company_id, branch_id, day),
    FOREIGN KEY (branch_id, company_id) REFERENCES branch (id, company_id)
) STRICT, WITHOUT ROWID;
