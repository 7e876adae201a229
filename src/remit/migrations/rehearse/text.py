from remit.migrations.rehearse.model import Report
def show_text(report: Report) -> str:
    return "x"
