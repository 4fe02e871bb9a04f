"""Cases of what is stored: its size, its number, and whether it was read again."""

from __future__ import annotations

from tests.integration.chart.alerts.series import (
    DAY,
    IN_S3,
    SHOP,
    STORED_BYTES,
    VERIFIED_AT,
    Case,
    Example,
    of,
)

_SIZES = (
    Case(
        alert="BackupShrank",
        what="to a third, for a day, also over a restart",
        series=of("last_backup_plain_bytes", "3072x99 1024x99 stale")
        | of("last_backup_plain_bytes", "_x204 1024x2000", pod="pod-2"),
        firing={"99m": [], "101m": ["shop"], "1400m": ["shop"], "1600m": []},
        example=Example(at="101m", labels=SHOP, value="1ki"),
    ),
    Case(
        alert="BackupShrank",
        what="a restart in between",
        series=of("last_backup_plain_bytes", "3000x99 stale")
        | of("last_backup_plain_bytes", "_x110 1000x100", pod="pod-2"),
        firing={"99m": [], "112m": ["shop"]},
    ),
    Case(
        alert="BackupShrank",
        what="new, growing, shrinking a little, a gap, deleted",
        series=of("last_backup_plain_bytes", "_x10 1000x10 5000x10 2600x10 _x10 2600x10 stale"),
        firing={"5m": [], "12m": [], "25m": [], "36m": [], "50m": [], "58m": [], "66m": []},
    ),
    Case(
        alert="BackupGrew",
        what="from 2 to 6 GiB in one location",
        series=of(STORED_BYTES, "2147483648x9 6442450944x60", location="s3")
        | of(STORED_BYTES, "2147483648x70", location="gcs"),
        firing={"9m": [], "11m": ["shop/s3"]},
        example=Example(at="11m", labels=IN_S3, value="6Gi"),
    ),
    Case(
        alert="BackupGrew",
        what="a small one, a new one, and one by half",
        series=of(STORED_BYTES, "1000x9 900000x60", location="s3")
        | of(STORED_BYTES, "_x20 9000000000x60", location="new")
        | of(STORED_BYTES, "6000000000x20 9000000000x60", location="gcs"),
        firing={"11m": [], "30m": []},
    ),
)

_STORED = (
    Case(
        alert="StoredBackupDamaged",
        what="a verification found it",
        series=of("location_last_verification_success", "1x9 0x9 1x9", location="s3")
        | of("location_last_verification_success", "1x30", location="gcs"),
        firing={"9m": [], "11m": ["shop/s3"], "21m": []},
        example=Example(at="11m", labels=IN_S3),
    ),
    Case(
        alert="StoredBackupDamaged",
        what="nothing was verified yet, or nobody has the key",
        series=of("location_last_verification_success", "_x20", location="s3")
        | of("location_healthy", "1x20", location="s3"),
        firing={"15m": []},
    ),
    Case(
        alert="StoredBackupsVanished",
        what="the runner missed some after a day without, and it is told for a day",
        series=of("location_vanished_backups_total", "0x1999 2x2000", location="s3")
        | of("location_vanished_backups_total", "0x4000", location="gcs"),
        firing={"1999m": [], "2001m": ["shop/s3"], "3400m": ["shop/s3"], "3450m": []},
        example=Example(at="2001m", labels=IN_S3),
    ),
    Case(
        alert="StoredBackupsVanished",
        what="the first look of a new runner missed some",
        series=of("location_vanished_backups_total", "_x9 3x2000", location="s3"),
        firing={"12m": ["shop/s3"], "1400m": ["shop/s3"], "1460m": []},
    ),
    Case(
        alert="StoredBackupsVanished",
        what="the counter begins anew, in the same pod and in the next one",
        series=of("location_vanished_backups_total", "5x1499 0x100 stale", location="s3")
        | of("location_vanished_backups_total", "_x1600 0x100", location="s3", pod="pod-2"),
        firing={"1490m": [], "1510m": [], "1610m": []},
    ),
    Case(
        alert="StoredBackupsVanished",
        what="none is missed, over a gap in the scrapes",
        series=of("location_vanished_backups_total", "0x20 _x20 0x20", location="s3"),
        firing={"10m": [], "30m": [], "45m": []},
    ),
    Case(
        alert="StoredBackupsDropped",
        what="from 30 to 10, in one location",
        series=of("location_stored_backup_count", "30x59 10x2000", location="s3")
        | of("location_stored_backup_count", "30x2060", location="gcs"),
        firing={"59m": [], "61m": ["shop/s3"], "1400m": ["shop/s3"], "1510m": []},
        example=Example(at="61m", labels=IN_S3, value="10"),
    ),
    Case(
        alert="StoredBackupsDropped",
        what="pruned, kept as the only one, new, restarted, taken out of the class",
        series=of("location_stored_backup_count", "30x59 20x60", location="s3")
        | of("location_stored_backup_count", "1 2 1 1 2 1 1x100", location="single")
        | of("location_stored_backup_count", "_x20 0x9 1x100", location="new")
        | of("location_stored_backup_count", "30x59 stale", location="old"),
        firing={"5m": [], "25m": [], "35m": [], "62m": [], "100m": []},
    ),
)


def _verified(
    values: str, every_s: int, *, name: str, suspended: int = 0, count: int = 3
) -> dict[str, str]:
    return (
        of(VERIFIED_AT, values, name=name, location="s3")
        | of("location_stored_backup_count", f"{count}x1000", name=name, location="s3")
        | of("expected_verification_interval_seconds", f"{every_s}x1000", name=name)
        | of("suspended", f"{suspended}x1000", name=name)
        | of("runner_started_at", "3600x1000", name=name)
    )


_VERIFICATION = (
    Case(
        alert="BackupNotVerified",
        what="twice as long as each object's own verification asks for, and a month without one",
        interval="1h",
        series=_verified("3600x1000", 7 * DAY, name="shop")
        | _verified("3600x1000", DAY, name="daily")
        | _verified("0x1000", 7 * DAY, name="never")
        | _verified("0x1000", 0, name="unasked"),
        firing={
            "50h": [],
            "51h": ["daily/s3"],
            "337h": ["daily/s3"],
            "339h": ["daily/s3", "never/s3", "shop/s3"],
            "747h": ["daily/s3", "never/s3", "shop/s3", "unasked/s3"],
        },
    ),
    Case(
        alert="BackupNotVerified",
        what="says for how long",
        interval="1h",
        series=_verified("3600x1000", DAY, name="shop"),
        firing={"51h": ["shop/s3"]},
        example=Example(at="51h", labels=IN_S3, value="2d 2h 0m 0s"),
    ),
    Case(
        alert="BackupNotVerified",
        what="verified in time, suspended, nothing there to verify, new",
        interval="1h",
        series=_verified("3600+3600x1000", DAY, name="shop")
        | _verified("3600x1000", 0, name="suspended", suspended=1)
        | _verified("0x1000", DAY, name="empty", count=0)
        | of(VERIFIED_AT, "_x700 0x300", name="new", location="s3")
        | of("location_stored_backup_count", "_x700 3x300", name="new", location="s3")
        | of("expected_verification_interval_seconds", f"_x700 {7 * DAY}x300", name="new")
        | of("runner_started_at", "_x700 2520000x300", name="new"),
        firing={"60h": [], "340h": [], "760h": []},
    ),
)

CASES = (*_SIZES, *_STORED, *_VERIFICATION)
