"""Makes daily_demand.parquet from the Online Retail table: `python make_sample.py online_retail.parquet`."""

import argparse
from collections import defaultdict
from pathlib import Path

import pandas as pd

PRODUCTS = 60
HOLDOUT_BEGINS = pd.Timestamp("2011-11-12")
SOLD_ON_DAYS = 150
SAME_ORDER = pd.Timedelta(days=7)
SAMPLE = Path(__file__).with_name("daily_demand.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="online_retail.parquet: the UCI table with all its rows")
    parser.add_argument("--to", type=Path, default=SAMPLE, help="where to write the sample")
    arguments = parser.parse_args()
    sample = daily_demand(pd.read_parquet(arguments.source))
    sample.to_parquet(arguments.to, index=False, compression="zstd")
    print(f"{arguments.to}: {len(sample)} rows, {arguments.to.stat().st_size} bytes")


def daily_demand(table: pd.DataFrame) -> pd.DataFrame:
    """Units asked for a day of the best-selling products, one row for each day on which the shop was open."""
    table = table[table.Country == "United Kingdom"].reset_index(drop=True)
    table["product"] = table.StockCode.str.upper().str.strip()  # 85123a and 85123A are one product
    table = table[table["product"].str.fullmatch(r"\d{5}[A-Z]*")]  # not postage, fees, vouchers, manual entries
    cancelled = table.InvoiceNo.str.startswith("C")
    orders = table[~cancelled & (table.Quantity > 0) & (table.UnitPrice > 0)]  # the rest corrects the stock
    orders = orders.drop(index=taken_back(orders, table[cancelled]))
    orders = orders.assign(day=orders.InvoiceDate.dt.normalize())
    days = orders.day.drop_duplicates().sort_values()

    # Chosen by what was known before the held-out days, so that the choice knows nothing of them.
    known = (
        orders[orders.day < HOLDOUT_BEGINS].groupby("product").agg(units=("Quantity", "sum"), days=("day", "nunique"))
    )
    best = known[known.days >= SOLD_ON_DAYS].sort_values("units", ascending=False).head(PRODUCTS).index

    orders = orders[orders["product"].isin(best)]
    wide = orders.pivot_table(index="day", columns="product", values="Quantity", aggfunc="sum").reindex(days)
    wide = wide.fillna(0).where(wide.notna().cummax())  # no demand before a product was first sold
    rows = wide.stack().dropna().rename("units").reset_index()
    names = orders.groupby("product").Description.agg(lambda words: words.str.strip().mode().iloc[0])
    rows["description"] = rows["product"].map(names)
    rows["units"] = rows.units.astype("int32")
    return rows.sort_values(["product", "day"])[["day", "product", "description", "units"]]


def taken_back(orders: pd.DataFrame, cancellations: pd.DataFrame) -> list[int]:
    """Order lines that their customer cancelled in full within days: they were never demand."""
    waiting: dict[tuple[float, str, int], list[tuple[pd.Timestamp, int]]] = defaultdict(list)
    for order in orders[orders.CustomerID.notna()].sort_values("InvoiceDate").itertuples():
        waiting[order.CustomerID, order.product, order.Quantity].append((order.InvoiceDate, order.Index))
    found = []
    for cancellation in cancellations.sort_values("InvoiceDate").itertuples():
        candidates = waiting.get((cancellation.CustomerID, cancellation.product, -cancellation.Quantity), [])
        recent = [one for one in candidates if pd.Timedelta(0) <= cancellation.InvoiceDate - one[0] <= SAME_ORDER]
        if recent:
            candidates.remove(recent[-1])
            found.append(recent[-1][1])
    return found


if __name__ == "__main__":
    main()
