namespace Broker.Tests.Unit.Replication;

/// <summary>A clock that stands still until the test moves it.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long _nowUs = 1_000_000;

    /// <summary>How far the wall clock is off, which a steady clock does not notice.</summary>
    public TimeSpan Skew { get; set; }

    public override long TimestampFrequency => 1_000_000;

    public override long GetTimestamp() => _nowUs;

    public override DateTimeOffset GetUtcNow() =>
        new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) + Skew + TimeSpan.FromMicroseconds(_nowUs);

    public void Advance(TimeSpan by) => _nowUs += (long)by.TotalMicroseconds;
}
