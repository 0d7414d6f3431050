namespace Broker.Storage;

/// <summary>How hard <see cref="Scrubber"/> looks for damage in files at rest.</summary>
public sealed record ScrubberOptions
{
    /// <summary>
    /// The most that is read in a second. The default checks 690 GB a day, and is a twentieth of what a slow disk
    /// (150 MB/s) gives to reads in order.
    /// </summary>
    public int RateBytesPerSecond { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// From the beginning of one pass over all files to that of the next. A day: the chance that a second replica of
    /// the same entries decays before the first one is repaired stays small, and disks are not kept busy. A pass that
    /// takes longer is followed by the next one at once.
    /// </summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromHours(24);

    /// <summary>The most that is read at once: a short burst that no flush notices (about 1 ms).</summary>
    public int PieceBytes { get; init; } = 256 * 1024;

    /// <summary>
    /// Draws the file that a pass begins with, below the number of files; a simulation passes its seeded source. A node
    /// that is restarted before each pass is over so checks all of its files sooner or later.
    /// </summary>
    public Func<int, int> ChooseFirst { get; init; } = Random.Shared.Next;
}
