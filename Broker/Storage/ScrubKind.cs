namespace Broker.Storage;

/// <summary>The kinds of files that lie untouched for so long that damage in them would not be noticed.</summary>
public enum ScrubKind
{
    Segment,
    Positions,
    Index,
    Snapshot,
}
