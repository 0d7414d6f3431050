namespace Broker.Domain;

/// <summary>The position of an entry in a group's Raft log. Entries begin at 1; 0 means before the first.</summary>
public readonly record struct LogIndex(long Value) : IComparable<LogIndex>
{
    public static readonly LogIndex None;

    public LogIndex Next() => new(Value + 1);

    public LogIndex Previous() => new(Value - 1);

    public int CompareTo(LogIndex other) => Value.CompareTo(other.Value);

    public static LogIndex Min(LogIndex left, LogIndex right) => left.Value <= right.Value ? left : right;

    public static LogIndex Max(LogIndex left, LogIndex right) => left.Value >= right.Value ? left : right;

    public static LogIndex operator +(LogIndex index, long count) => new(index.Value + count);

    public static long operator -(LogIndex left, LogIndex right) => left.Value - right.Value;

    public static bool operator <(LogIndex left, LogIndex right) => left.Value < right.Value;

    public static bool operator >(LogIndex left, LogIndex right) => left.Value > right.Value;

    public static bool operator <=(LogIndex left, LogIndex right) => left.Value <= right.Value;

    public static bool operator >=(LogIndex left, LogIndex right) => left.Value >= right.Value;

    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
