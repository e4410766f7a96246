"""What a regression may know of a product and a day one week ahead: calendar, product, demand of earlier weeks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scores

HISTORY = 35
"""Days at the beginning that serve as history only."""

PAST = ["lag_7", "lag_14", "lag_21", "lag_28", "mean_7", "mean_28", "mean_84", "median_28", "weekday_mean", "shop_28"]
"""The columns that count units."""


@dataclass(frozen=True)
class Table:
    """Rows of product and day with the units to be learned; only days on which something could be sold."""

    features: pd.DataFrame
    units: pd.Series

    def where(self, rows: np.ndarray) -> "Table":
        """Some of the rows."""
        return Table(self.features[rows], self.units[rows])

    @property
    def days(self) -> pd.DatetimeIndex:
        """The day of each row."""
        return pd.DatetimeIndex(self.units.index.get_level_values("day"))

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> "Table":
        """Rows from a day on, to the day before another."""
        return self.where((self.days >= first) & (self.days < last))

    def wide(self, units: np.ndarray) -> pd.DataFrame:
        """Units for the rows as days × products."""
        return pd.Series(units, self.units.index).unstack()


def build(demand: pd.DataFrame) -> Table:
    """All rows; what stems from demand is at least HORIZON days old."""
    past = scores.known(demand)
    columns = {f"lag_{7 + 7 * week}": past.shift(7 * week) for week in range(4)}
    columns |= {f"mean_{days}": past.rolling(days, min_periods=1).mean() for days in (7, 28, 84)}
    columns["median_28"] = past.rolling(28, min_periods=1).median()
    columns["sold_28"] = (past > 0).where(past.notna()).rolling(28, min_periods=1).mean()
    weeks = pd.concat([past.shift(7 * week) for week in range(8)])
    columns["weekday_mean"] = weeks.groupby(level="day").mean().reindex(demand.index)
    shop = past.mean(axis=1).rolling(28, min_periods=1).mean()
    columns["shop_28"] = past.copy()
    columns["shop_28"].loc[:, :] = np.repeat(shop.to_numpy()[:, None], past.shape[1], axis=1)
    features = pd.DataFrame({name: frame.stack(future_stack=True) for name, frame in columns.items()})
    days = pd.DatetimeIndex(features.index.get_level_values("day"))
    features["weekday"] = pd.Categorical(days.day_of_week, categories=range(7))
    features["to_christmas"] = [(pd.Timestamp(day.year, 12, 25) - day).days % 365 for day in days]
    features["product"] = pd.Categorical(features.index.get_level_values("product"), categories=demand.columns)
    units = demand.stack(future_stack=True)
    return Table(features, units).where(units.notna().to_numpy() & (days >= demand.index[HISTORY]))
