namespace Broker.Replication;

/// <summary>Of a node's groups one at a time writes a segment anew, so that the disk has one such job.</summary>
public sealed class ThinningTurn
{
    private int _isTaken;
    private bool _isWanted;

    /// <summary>Any thread.</summary>
    public bool TryTake()
    {
        var isMine = Interlocked.Exchange(ref _isTaken, 1) == 0;
        if (!isMine)
        {
            Volatile.Write(ref _isWanted, true);
        }

        return isMine;
    }

    /// <summary>Of the one that has it. True: nobody has asked for it meanwhile, and it may go on.</summary>
    public bool MayKeep() => !Volatile.Read(ref _isWanted);

    /// <summary>Who asked for it tries again by itself, within a second.</summary>
    public void End()
    {
        Volatile.Write(ref _isWanted, false);
        Volatile.Write(ref _isTaken, 0);
    }
}
