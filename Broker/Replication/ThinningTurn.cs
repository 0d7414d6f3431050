namespace Broker.Replication;

/// <summary>Of a node's groups one at a time writes a segment anew, so that the disk has one such job.</summary>
public sealed class ThinningTurn
{
    private int _isTaken;

    /// <summary>Any thread.</summary>
    public bool TryTake() => Interlocked.Exchange(ref _isTaken, 1) == 0;

    public void End() => Volatile.Write(ref _isTaken, 0);
}
