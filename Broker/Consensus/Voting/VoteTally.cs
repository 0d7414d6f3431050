using System.Numerics;
using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The answers of the election under way; bit n stands for voter n. A configuration only changes by the hand of a
/// leader, and whoever hears one, or is one, campaigns no more: so n names the same voter until the end.
/// </summary>
internal sealed class VoteTally
{
    private ulong _granted;
    private ulong _refused;

    public void Clear()
    {
        _granted = 0;
        _refused = 0;
    }

    /// <summary>
    /// Takes an answer; that of a node that is no voter does not count, nor does the own vote of a candidate that is no
    /// voter any more.
    /// </summary>
    public void Count(GroupConfiguration configuration, NodeId node, bool granted)
    {
        if (configuration.Voters.IndexOf(node) is not (>= 0 and var ordinal))
        {
            return;
        }

        if (granted)
        {
            _granted |= 1UL << ordinal;
        }
        else
        {
            _refused |= 1UL << ordinal;
        }
    }

    public bool IsWon(GroupConfiguration configuration) =>
        BitOperations.PopCount(_granted) >= Quorum.Majority(configuration.Voters.Length);

    /// <summary>So many refused that those that are left are no majority.</summary>
    public bool IsLost(GroupConfiguration configuration)
    {
        var voters = configuration.Voters.Length;
        return BitOperations.PopCount(_refused) > voters - Quorum.Majority(voters);
    }
}
