"""The run's table: parity, speed, memory, what was not done, and one line that says what stands."""

MIB = 1 << 20


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def show(report: dict) -> None:
    print(f"\n{report.get('device', 'no device')} ({report['kind']}), {report['when']}, PyTorch {report.get('yardsticks', {}).get('torch')}")
    parity(report["parity"])
    residual([row for row in report["speed"] if row["stage"] == "residual"])
    screen([row for row in report["speed"] if row["stage"] == "screen"])
    memory(report["memory"], report["profile"])
    if report["not_done"]:
        print("\nnot measured")
        for line in report["not_done"]:
            print(f"  {line}")
    print("\ngpu: " + verdict(report))


def parity(rows: list[dict]) -> None:
    print(f"\n{'parity':46} {'format':6} {'against':17} {'difference':>10} {'bound':>8}")
    for row in rows:
        head = f"{row['what']:46} {row['dtype']:6} {row['against']:17}"
        if row["holds"] is None:
            print(f"{head} NOT COMPARED: {row['reason']}")
            continue
        package, reason = row.get("package_difference"), row.get("package_reason")
        beside = "" if package is None else f", demucs in {row['dtype']} {package:.1e}"
        beside += "" if reason is None else f", demucs in {row['dtype']} NOT COMPARED: {reason}"
        print(f"{head} {row['difference']:10.1e} {row['bound']:8.1e}  {'holds' if row['holds'] else 'BROKEN'}{beside}")


def residual(rows: list[dict]) -> None:
    if rows:
        print(f"\n{'residual, s/s':14} {'batch':>6} {'ours':>10} {'demucs':>10} {'ratio':>6} {'apply_model':>12} {'ratio':>6} {'pairs':>6}")
    for row in rows:
        forward = f"{number(row['forward'], '10.1f'):>10} {number(row['over_forward'], '6.2f'):>6}"
        whole = f"{number(row['apply_model'], '12.1f'):>12} {number(row['over_apply_model'], '6.2f'):>6}"
        print(f"{row['dtype']:14} {row['batch']:6} {row['ours']:10.1f} {forward} {whole} {row['pairs']:6}")


def screen(rows: list[dict]) -> None:
    if rows:
        print(f"\n{'screen, s/s':14} {'batch':>6} {'ours':>10} {'PyTorch':>10} {'ratio':>6} {'pairs':>6}")
    for row in rows:
        theirs = f"{number(row['PyTorch'], '10.0f'):>10} {number(row['over_PyTorch'], '6.2f'):>6}"
        print(f"{row['dtype']:14} {row['batch']:6} {row['ours']:10.0f} {theirs} {row['pairs']:6}")


def memory(rows: list[dict], lines: list[dict]) -> None:
    if rows:
        print(f"\n{'residual, MiB':14} {'batch':>6} {'taken':>10}")
    for row in rows:
        taken = "does not fit" if not row["fits"] else number(row["bytes"] and row["bytes"] / MIB, "10.0f")
        print(f"{row['dtype']:14} {row['batch']:6} {taken:>10}")
    for line in lines:
        parts = [f"{line[name] / MIB:.0f} MiB" for name in ("fixed_bytes", "segment_bytes", "off_the_line_bytes")]
        print(f"{line['dtype']}: {parts[0]} and {parts[1]} a segment, at most {parts[2]} off; largest batch that fits {line['largest_batch']}")


def verdict(report: dict) -> str:
    rows = report["parity"]
    broken = sum(row["holds"] is False for row in rows)
    required = sum(row["holds"] is None and row["required"] for row in rows)
    absent = sum(row["holds"] is None for row in rows)
    if report.get("ended"):
        return f"ENDED EARLY: {report['ended']}"
    if broken:
        return f"PARITY IS BROKEN in {broken} of {len(rows)} comparisons; {absent} were not made"
    if required:
        return f"NOT SHOWN: {required} comparisons with committed values could not be made"
    held = f"parity holds in {len(rows) - absent} comparisons"
    return f"{held}; {absent} WERE NOT MADE, see above" if absent else held
