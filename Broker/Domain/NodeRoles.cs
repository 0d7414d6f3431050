namespace Broker.Domain;

/// <summary>
/// What a node is for. A cluster needs one node of each role at least. The numbers are on disk: never reuse one.
/// </summary>
[Flags]
public enum NodeRoles : byte
{
    /// <summary>No node has none.</summary>
    None = 0,

    /// <summary>It votes in the metadata group.</summary>
    Controller = 1,

    /// <summary>It holds topics, and receives the metadata group's log.</summary>
    Data = 2,

    /// <summary>What a node is when nobody says more.</summary>
    Both = Controller | Data,
}

/// <summary>A node that the groups began with.</summary>
/// <param name="Node">Its number.</param>
/// <param name="Roles">What it was for.</param>
public readonly record struct Founder(NodeId Node, NodeRoles Roles);

/// <summary>What follows from a node's roles, and their words.</summary>
public static class NodeRolesWords
{
    /// <summary>Whether a node with these roles may vote in a group; in the others it never does.</summary>
    public static bool VoteIn(this NodeRoles roles, GroupId group) =>
        (roles & (group == GroupId.Metadata ? NodeRoles.Controller : NodeRoles.Data)) != 0;

    /// <summary>A node has at least one role, and none that is not known.</summary>
    public static bool AreValid(this NodeRoles roles) => roles is > NodeRoles.None and <= NodeRoles.Both;

    /// <summary>As an operator writes them.</summary>
    public static string InWords(this NodeRoles roles) => roles switch
    {
        NodeRoles.Controller => "controller",
        NodeRoles.Data => "data",
        _ => "controller,data",
    };

    /// <summary>One or both of the words, in any order, separated by a comma.</summary>
    public static bool TryParse(string text, out NodeRoles roles)
    {
        roles = NodeRoles.None;
        foreach (var word in text.Split(',', StringSplitOptions.TrimEntries))
        {
            var role = word switch
            {
                "controller" => NodeRoles.Controller,
                "data" => NodeRoles.Data,
                _ => NodeRoles.None,
            };
            if (role == NodeRoles.None)
            {
                return false;
            }

            roles |= role;
        }

        return true;
    }

    /// <summary>By what another node says of itself; one that says nothing is of before there were roles.</summary>
    public static NodeRoles OfWire(uint roles) => roles == 0 ? NodeRoles.Both : (NodeRoles)(byte)Math.Min(roles, 255);
}
