"""Which Danbooru tags say what a character *is*: a reviewed table of patterns, as data.

Written against the 8,106 general tags of the third WD14 generation and meant for the wider Danbooru vocabulary too.
Every pattern must match a whole tag in its normal form (lower case, underscores, no escapes, no weight), so that
`hair` never catches `hairband` nor `ear` `earrings`. `{color}` and the like stand for the word lists of WORDS.

A state is something a body does for a moment (closed eyes, wet hair): it is told apart from a trait and kept in captions,
because nobody wants a trigger word that closes the eyes. What is worn is no trait: it has a group of its own, asked for by name.
"""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """One kind of trait. traits, states: patterns of tags that are always / only for the moment so."""

    name: str
    about: str
    traits: tuple[str, ...]
    states: tuple[str, ...] = ()
    optional: bool = False


_SHADES = (
    "aqua|auburn|azure|beige|black|blonde|blond|blue|blue-green|bronze|brown|chestnut|cream|crimson|cyan|gold|green|gr[ae]y|indigo|ivory|"
    "lavender|lilac|magenta|maroon|mint|navy|navy_blue|olive|orange|peach|pink|platinum|platinum_blonde|purple|red|rose|rust|scarlet|silver|"
    "sky_blue|strawberry_blonde|tan|teal|turquoise|violet|white|yellow"
)
_MIXED = "multicolou?red|two-tone|gradient|rainbow|transparent|translucent|mismatched"
_ANIMALS = (
    "aardwolf|alpaca|animal|anteater|antelope|armadillo|badger|bat|bear|beaver|bird|boar|bobcat|bull|bunny|butterfly|camel|caracal|cat|cheetah|"
    "chicken|chipmunk|cow|coyote|crocodilian|crocodile|alligator|crow|deer|dhole|dinosaur|dog|dolphin|donkey|dragon|elephant|falcon|fennec_fox|"
    "fennec|"
    "ferret|fish|fox|frog|gazelle|genet|giraffe|goat|hamster|hare|hawk|hedgehog|hippopotamus|horse|hyena|jackal|jaguar|kangaroo|kemono|kitsune|"
    "koala|"
    "lemur|leopard|lion|lizard|lop_rabbit|lynx|marten|monkey|moose|mouse|ocelot|okapi|orca|otter|owl|ox|panda|panther|peacock|penguin|phoenix|pig|"
    "platypus|polar_bear|porcupine|puma|rabbit|raccoon|rat|red_panda|reindeer|reptile|rhinoceros|salamander|scorpion|seal|serval|shark|sheep|skunk|"
    "snake|snow_leopard|squirrel|stoat|swan|tanuki|tapir|tiger|turtle|unicorn|vulture|weasel|whale|wolf|wolverine|yak|zebra|squid|octopus|crab|"
    "eagle|"
    "sparrow|axolotl|pangolin|sloth|gorilla|ape|meerkat|mole_\\(animal\\)|opossum|mongoose|chameleon|gecko|cetacean|pokemon|jerboa"
)
_BUGS = "ant|arthropod|bee|beetle|bug|butterfly|centipede|cockroach|dragonfly|fly|insect|ladybug|mantis|moth|scorpion|spider|wasp|worm"
_BEINGS = (
    "alien|android|angel|cyborg|demon|devil|dragon|elf|fairy|ghost|gnoll|goblin|golem|gorgon|harpy|jiangshi|kappa|lamia|mermaid|minotaur|monster|"
    "mushroom|ogre|oni|orc|plant|robot|skeleton|slime|succubus|tentacle|undead|vampire|werewolf|zombie|jellyfish|snail|slug|cactus|crystal|food|"
    "plush|sea_slug"
)
_SIZES = "tiny|small|medium|large|big|huge|gigantic|giant|massive|enormous"

WORDS = {
    "color": f"(?:(?:(?:very_)?(?:light|dark|pale|bright|deep)[_-])?(?:{_SHADES}))",
    "mixed": f"(?:{_MIXED})",
    "animal": f"(?:{_ANIMALS}|{_BUGS})",
    "being": f"(?:{_BEINGS})",
    "size": f"(?:{_SIZES})",
    "count": "(?:single|one|two|three|four|five|tri|quad|twin|double|triple|multiple|extra|many)",
    # What such a thing may be called, but not what is done to it nor that it lies elsewhere, nor glasses to drink from.
    "worn": (
        "(?!(?:adjusting|holding|hands?_on|no|unworn|removing|removed|looking|licking|cum|hair_through|clitoral|alternate|wine|drinking|beer|"
        "cocktail|shot|magnifying|stained|"
        "broken|hour|bottle|knee|hub|mushroom|putting|tipping|wet|bath|lens)_)(?![a-z_-]*_(?:on|over|under|in)_)(?:[a-z-]+_)*"
    ),
    "part": (
        "(?:abs?|ankle|arms?|armpits?|ass|back|belly|body|breasts?|buttocks?|cheeks?|chest|collarbone|crotch|ear|elbow|eye|eyelid|face|facial|"
        "fingers?|foot|feet|forehead|groin|hands?|head|hip|hips|knees?|legs?|lips?|mouth|navel|neck|nipple|nose|pectorals?|pubic|pussy|shoulders?|"
        "side|stomach|tail|thighs?|toe|tongue|torso|waist|wrist)"
    ),
}

TABLE: tuple[Group, ...] = (
    Group(
        "hair_color",
        "the colour of the hair",
        (
            "{color}_hair",
            "{mixed}_hair",
            "(?:streaked|split-color|colored|colored_inner|colored_streaks|dyed|starry|spotted|striped|shiny_{color})_hair",
            "colored_(?:tips|hair_tips)",
            "(?:{color}|{mixed}|rainbow)_(?:inner_hair|hair_tips|streaks|streaked_hair)",
            "alternate_hair_colou?r",
            "(?:dark|light|pale|bright|fair)_hair",
            "ginger_hair|salt-and-pepper_hair",
        ),
    ),
    Group(
        "hair_length",
        "the length of the hair",
        (
            "(?:(?:very|absurdly|extremely)_)?(?:short|medium|long)(?:-|_length_)?_?hair",
            "short_hair_with_long_locks",
            "(?:shoulder|waist|knee|ankle|floor)-length_hair",
            "(?:partially_)?bald|bald_(?:girl|boy|female|male|spot)|hairless|shaved_head|balding",
            "(?:official_)?alternate_hair_length",
        ),
    ),
    Group(
        "hair_style",
        "how the hair is cut, tied and shaped",
        (
            "(?:(?:high|low|side|short|long|front|wide|folded|split|braided|curly|spiked|high_side|low_side|multiple|twin|tri|double|huge|big|"
            "mini|bouncy)_)*"
            "(?:ponytails?|sidetail)",
            "(?:(?:low|high|short|long|uneven|braided|curly|folded|multiple|quad|tri|split|huge|very_long|asymmetrical|mini|fluffy|spiked|"
            "detached)_)*twin_?tails",
            "(?:(?:single|side|twin|low|low_twin|high|long|french|crown|multiple|tri|quad|ribbon|half-up|front|short|asymmetrical|huge|"
            "very_long|mini|double|thick|fishtail|box|dutch|halo|waterfall|bridal)_)*braids?",
            "cornrows?|dreadlocks|locs|braided_(?:hair|bun|buns|ponytail|sidelock|sidelocks|twintails|hair_rings|hair_ring|updo)",
            "(?:low|high)?-?braided_long_hair|low-tied_(?:long_hair|sidelocks?|hair)|(?:multi-)?tied_hair|(?:braided_)?hair_rings?",
            "(?:(?:single|double|cone|doughnut|heart|low|high|side|small|large|big|multiple|triple|twin|braided|flower|messy|half|single_side|"
            "ribbon|bow-shaped|cat_ear|space)_)*(?:hair_)?buns?(?:_\\(hair\\))",
            "(?:(?:single|double|cone|doughnut|heart|low|high|side|small|large|big|multiple|triple|twin|braided|flower|half|bow-shaped|"
            "animal_ear)_)*hair_buns?",
            "(?:double|single|side|braided|single_side|low|high|triple)_buns?|half_updo|updo",
            "(?:(?:single|twin|side|quad|tri|low|high|huge|multiple|front|long|short)_)*drills?(?:_hair|_sidelocks?)?|ringlets?",
            "(?:(?:huge|heart|double|multiple|long|large|split|triple|forked|detached|twin|short|single|curly|folded|drooping|braided|"
            "lightning_bolt)_)*ahoge",
            "(?:(?:single|long|short|asymmetrical|braided|curly|drill|tied|uneven|multiple|wavy|big|thick|low-tied)_)*sidelocks?",
            "(?:curly|wavy|straight|spik(?:ed|y)|pointy|big|fluffy|frizzy|flipped|parted|folded|feather|feathered|bow-shaped|curtained|"
            "asymmetrical|"
            "asymmetric|layered|shaggy|choppy|thick|thin|silky|bushy|kinky|coily|crimped|undone|half-up|swept_back|slicked_back|slicked-back|"
            "pulled_back|"
            "heart-shaped|heart|star-shaped|crystal|prehensile|tentacle|snake|liquid|fiery|flaming|fire|water|ice|cloud|glowing|expressive|"
            "drill|leaf|plant|flower|"
            "slime|scene|emo|gravity-defying|detached|permed|double-parted|center-parted|side-parted|uneven|jagged|textured|gelled|"
            "ghost|smoke|metal|mechanical|shiny|hedgehog|vine|energy|octopus|squid|food|candy|butterfly|wing)_hair",
            "hair_(?:intakes?|flaps?|horns?|wings|ears|up|down|slicked_back|pulled_back|loops?|cones?|tails?|antennae|spikes|over_shoulder|"
            "over_both_shoulders|behind_back)",
            "(?:single|double|long|short|large|big|huge|multiple)_hair_(?:intakes?|flaps?|rings?|horns?|loops?)",
            "(?:(?:short|long|inverted|a-line|asymmetrical|wavy|blunt|stacked|layered)_)?bob(?:_cut|_hair)?|(?:hime|bowl|pixie|buzz|crew|circle|"
            "wolf|shag|mullet|"
            "princess|okappa|fade|taper|jellyfish|mash|wolf-cut|mushroom|military|page_boy|pageboy|butch)_cut",
            "jellyfish_haircut|undercut|sidecut|mullet|mohawk|fauxhawk|afro|afro_puffs|pompadour|topknot|chonmage|ducktail|flattop|flat_top|"
            "quiff|regent_hair|"
            "jheri_curl|rattail|beehive_\\(hairstyle\\)|nihongami|widow's_peak|cowlick|forelocks?|earlocks|buzzed_hair|shaved_sides|faux_hawk|"
            "odango|chignon|"
            "antenna_hair|one_side_up|two_side_up|single_sidetail|short_sidetail|loose_hair_strands?|hair_strands?|hairpods|eraser_head|"
            "victory_rolls|finger_waves|pigtails|dango_hair|mage_\\(hairstyle\\)|mizura",
            "(?:official_)?alternate_hairstyle|low_wings_hair|(?:hair_)?topknot|queue_\\(hairstyle\\)",
        ),
        states=(
            "(?:wet|messy|floating|disheveled|tousled|bed|dripping|sweaty|damp|wind-?blown|windswept|blowing|undone|burnt|singed|frozen|dirty|"
            "bloody|sticky|"
            "shiny_wet|tangled|static|bushy_wet|flowing|spread)_hair",
            "bedhead|wind_?lift_hair|hair_flowing(?:_over)?|hair_spread_out|hair_blowing|ahoge_wag|hair_in_wind|hair_on_horn|hair_down_wet|"
            "(?:hair|hairs?)_stuck_to_(?:face|body)|helmet_hair|hat_hair",
        ),
    ),
    Group(
        "bangs",
        "the hair over the forehead",
        (
            "(?:(?:very|extra)_)?[a-z]+(?:-[a-z]+)*_bangs",
            "bangs|fringe_\\(hair\\)|(?:no|long_side|short_side|long_center|center_parted|side_swept|thick_blunt|thin_blunt|see-through)_bangs",
            "hair_(?:between_eyes|over_one_eye|over_eyes|over_forehead|over_face)|fringe_trim_hair|(?:one_)?curtain_fringe|swept_fringe",
            "eyes_hidden_by_hair_style",
        ),
        states=("bangs_pinned_back|(?:pinned|wet|messy|lifted|clipped)_bangs|bangs_(?:up|lifted|clipped|tied)",),
    ),
    Group(
        "eye_color",
        "the colour of the eyes",
        (
            "{color}_eyes?",
            "(?:{mixed}|coloured|colored|ringed|starry|dark|light|pale|hazel|amber|ruby|emerald|sapphire|two-toned|colorless)_eyes",
            "(?:partial_|sectoral_|central_)?heterochromia",
            "(?:{color}|{mixed}|coloured|colored|no|dark|light)_scleras?|no_sclera",
            "(?:{color}|colored|{mixed})_iris(?:es)?",
            "alternate_eye_colou?r",
        ),
        states=(
            "closed_eyes|one_eye_closed|eyes_closed|half-closed_eyes?|one_eye_half_closed|bloodshot_eyes|one_eye_open",
        ),
    ),
    Group(
        "eye_shape",
        "the shape of eyes and pupils",
        (
            "[a-z]+(?:-[a-z]+)?_pupils?",
            "solid_(?:circle|oval)_(?:pupils|eyes)|no_(?:pupils|eyes)|(?:extra|multiple)_(?:eyes|pupils)",
            "tsurime|tareme|jitome|sanpaku|tsurime_eyes|tareme_eyes|sanpaku_eyes|third_eye|one-eyed|cyclops|three-eyed|four-eyed|double_eyelids?|"
            "monolid|epicanthic_fold|eye_bags|bags_under_eyes|(?:dark_)?circles_under_eyes|dark_eye_circles|slanted_eyes",
            "(?:upturned|droopy|round|narrow|big|large|huge|small|tiny|slit|almond|almond-shaped|wide_oval|solid|dashed|dot|button|blank|hollow|"
            "clock|artificial|"
            "mechanical|compound|cephalopod|insect|snake|cat|goat|frog|animal|robot|star-shaped|diamond-shaped|square|triangle|"
            "forked|uneven|beady|black_button|bulging|extra|spiral|cross-shaped|flower-shaped|symbol-shaped|sharp|"
            "sunken|multi|eight|six|five|four|three|mismatched|fish|hooded|stylized|toon|pac-man|mokoko|konami|glass|uneven_sized)_eyes",
            "(?:symbol|star|flower|cross|clover|gear|number|letter|crown|snowflake|crescent|diamond)_in_eyes?|(?:mechanical|artificial|"
            "prosthetic|fake|compound|glass)_eye|eyeball_head",
            "mismatched_(?:pupils|sclera|eyes)|ringed_iris|mystic_eyes|sharingan|rinnegan|byakugan|mangekyou_sharingan|geass|"
            "death_\\(entity\\)_eyes",
        ),
        states=(
            "(?:constricted|dilated|shrunken|tiny|heart-shaped|wobbling|trembling|small|contracted|spiral|quivering|vibrating)_pupils|"
            "(?:empty|crazy|glowing|sparkling|rolling|narrowed|flaming|hollow|crying|teary|dead|wide|crossed|squinting|hypnotic|"
            "heart-shaped|v-shaped|wavy|swirly|sleepy|tired|unfocused|bulging|popping|lazy|upturned_glance|sad|angry|"
            "dull|blank|spinning)_eyes?|(?:hearts?|fire|light|stars)_in_eyes?|wide-eyed|cross-eyed|squint(?:ing)?|"
            "unusually_open_eyes|crying_with_eyes_open|eyes_visible_through_hair|rolled_up_eyes|"
            "ahegao_eyes|eye_roll|@_@|heart_in_eye|lazy_eye|cross-eyed",
        ),
    ),
    Group(
        "brows_lashes",
        "eyebrows and eyelashes",
        (
            "(?:(?:{color}|{mixed}|colored|thick|thin|long|short|curly|forked|bushy|huge|big|small|no|arched|straight|sparse|dot|round|slanted|"
            "heavy|notched|"
            "scarred|pointy|split|sharp|spiky|lower|upper|dark|missing|angular|droopy)_){1,3}(?:eyebrows?|eyelash(?:es)?)",
            "(?:eyelashes|eyebrows|unibrow|monobrow|eyebrow_cut|eyebrow_slit|hikimayu|maro-mayu|maromayu|huge_eyebrows)",
            "eyebrows_(?:hidden_by|visible_through)_hair",
        ),
        states=(
            "(?:raised|furrowed|raised_inner|lowered|arched_raised|knitted|wiggling|twitching)_(?:eyebrows?|brows?)|v-shaped_eyebrows?|"
            "wavy_eyebrows|upturned_eyebrows|sad_eyebrows|angry_eyebrows",
        ),
    ),
    Group(
        "nose_mouth_teeth",
        "nose, lips and teeth",
        (
            "(?:big|large|huge|small|tiny|long|pointy|pointed|round|dot|animal|red|black|pink|brown|no|cat|dog|pig|clown|button|hooked|flat|"
            "snub|wide|aquiline|"
            "hawk|upturned|crooked|blue|purple|fox|bear|elephant|bulbous|broad|carrot|upside-down|triangle|green|colored)_nose",
            "(?:skin_)?(?:fangs?)|(?:long|single|double|large|tiny|big|multiple|vampire|snake)_fangs?|yaeba|snaggletooth",
            "(?:sharp|buck|round|gap|gold|metal|crooked|missing|jagged|shark|pointed|pointy|yellow|rabbit|uneven|rotten|big|large|serrated|"
            "silver|vampire|black|no|colored)_(?:teeth|tooth)",
            "(?:missing_tooth|tooth_gap|diastema|tusks?|snout|beak|proboscis|trunk_\\(animal\\)|mandibles|braces_\\(teeth\\)|grillz|"
            "animal_mouth|no_mouth|extra_mouth|stitched_mouth|"
            "split_mouth|multiple_mouths|stomach_mouth|mouthless|lips|full_lips|forked_tongue|long_tongue|{color}_tongue|colored_tongue|"
            "multiple_tongues|extra_tongue|"
            "no_nose|nose|noseless|cleft_chin|cleft_lip|strong_jaw|square_jaw|long_chin|pointy_chin|double_chin|big_mouth|big_lips|"
            "high_cheekbones)",
            "(?:thick|big|large|full|plump|thin|huge|puffy|small|wide)_lips",
        ),
        states=(
            "teeth|clenched_teeth|parted_lips|(?:upper|lower)_teeth(?:_only)?|upper_and_lower_teeth|fangs?_out|skin_fang_out|puckered_lips|"
            "pursed_lips|"
            "runny_nose|wrinkled_nose|tongue_out",
        ),
    ),
    Group(
        "species_parts",
        "ears, tails, horns, wings and other parts people have not",
        (
            "(?=.*(?:ears?|tails?)$)(?:(?:{color}|{mixed}|{size}|long|short|floppy|round|lop|extra|extra_pair_of|multiple|mechanical|robot|"
            "glowing|mismatched|fluffy|folded)_)*{animal}_(?:ears?|tails?)",
            "(?=.*ears?$)(?:(?:{color}|{mixed}|{size}|long|very_long|short|pointy|pointed|extra|extra_animal|floppy|lop|robot|mechanical|"
            "colored|notched|torn|round|droopy|mismatched|elf|"
            "implied_extra|folded|single|feathered|fluffy|wing|fish|fin|head|four|cone|monster|leaf|goblin|sharp|cropped|missing|asymmetrical|"
            "striped|spotted|orc|rounded|demon|vampire|no|multiple|animal_ear)_)+ears?",
            "ear_(?:fluff|tufts?|fins?|markings|floof)|animal_ear_fluff|(?:notched|cauliflower)_ear|no_ears|head_ears",
            "(?=.*tails?$)(?:(?:{color}|{mixed}|{size}|{count}|long|short|thick|prehensile|demon|devil|mechanical|robot|cable|heart|"
            "heart-shaped|ghost|forked|spiked|striped|curly|curled|colored|flame-tipped|fiery|fire|"
            "fluffy|ringed|feathered|bushy|scaly|spotted|cut|mermaid|fairy|monster|pokemon|detached|extra|glowing|no|kyuubi|curled_up|stubby|"
            "plant|energy|bifurcated|docked|split|tentacle|stinger|multi|arthropod|leaf|crystal)_)+tails?",
            "tails|tail|kyuubi",
            "(?=.*(?:horn|antler)s?$)(?:(?:{color}|{mixed}|{size}|{count}|{animal}|long|short|curled|curly|demon|devil|oni|unicorn|mechanical|"
            "broken|glowing|striped|asymmetrical|cone|uneven|fiery|colored|forehead|spiral|skin-covered|straight|"
            "candy|crystal|energy|ice|flaming|pointy|branched|ringed|detached|curved|kirin|mini|transparent|metal|cracked|plant|ram|floating|"
            "fire|flame|tree|wooden|no|spiked|antler|shark|small_dragon)_)+(?:horns?|antlers?)",
            "horns?|antlers?|horned|(?:two|multiple)_horned|head_horn|ear_horns",
            "(?=.*wings?$)(?!chicken_)(?:(?:{color}|{mixed}|{size}|{count}|{animal}|angel|demon|devil|fairy|feathered|mechanical|low|head|ear|"
            "hip|back|leg|"
            "arm|ankle|wrist|butterfly|energy|crystal|ice|fiery|flaming|fire|glowing|detached|asymmetrical|torn|"
            "alternate|insect|transparent|tattered|broken|bone|plant|leaf|mini|metal|colored|water|light|heart|floating|multi|four|six|flower|"
            "waist|no|vampire|harpy|liquid|membranous|webbed|shadow|wing|extra|clipped|"
            "mismatched|dark|seraph|wooden|ghost|robot|paper|striped|spotted|missing|injured|damaged)_)+wings?",
            "wings|winged_arms|winged_legs|wing_(?:ears|arms)|elytra|feathered_arms",
            "(?=.*halos?$)(?:(?:{color}|{mixed}|{size}|mechanical|broken|dark|star|compass_rose|cross|heart|glowing|floating|multiple|double|"
            "flower|gear|triangle|square|diamond|cracked|no|energy|clock|spiked|liquid|crescent|eye|skull|detached|ringed|thorn)_)*halos?",
            "(?:{color}|{mixed}|body|neck|chest|leg|arm|hand|facial|head|fluffy|thick|pubic|patterned|striped|spotted|brindle|wrist|ankle|back|"
            "shoulder|colored|calico)_fur",
            "(?:body|arm|head|neck|facial|chest|tail)_(?:feathers|scales)|(?:{color}|{mixed})_scales|(?:{color}|colored|mixed)_(?:claws|hooves|"
            "paws)|scales",
            "(?:dorsal|head|ear|tail|back|arm|leg|shark|hip|forearm|extra|caudal|pelvic|side|{color})_fins?|fins|gills|flippers|hooves|paws|"
            "pawpads?|claws|talons|carapace|exoskeleton|shell_\\(animal\\)|whiskers|pincers|stinger|"
            "antennae|(?:{animal}|{being}|{color}|mechanical|radio|robot|colored|long|single|hair)_antennae|antlers|tentacles_on_body|"
            "tentacle_(?:arms|legs|hair)|plant_hair|mane|head_crest|barbels|(?:head|eye)_(?:tendrils|tentacles|stalks?)|eyestalks",
            "(?:animal|robot|mechanical|prosthetic|hoofed|digitigrade|raptor|clawed|insect|plant|monster|bird|webbed|taloned|skeletal)_(?:legs?|"
            "feet|foot|hands?|arms?|hooves|claws|lower_body|limbs?|joints?)|"
            "animal_(?:head|body|mouth|snout)|(?:cat|dog|wolf|bear|fox|tiger|lion|rabbit)_paws",
            "(?:single|one)_mechanical_(?:arm|leg|hand|eye)|(?:mechanical|cybernetic)_(?:parts|body|limbs|spine|neck|torso)|(?:extra|multiple|"
            "four|six|detached|oversized)_(?:arms|limb|limbs|heads|legs|faces)|"
            "(?:prosthesis|prosthetic_(?:arm|leg|hand|weapon|limb)|robot_joints|doll_joints|ball-jointed|joints|amputee|(?:double|"
            "quadruple)_amputee|missing_limb|digitigrade|plantigrade|peg_leg|"
            "monster_(?:arm|hand|leg|face)|multiple_(?:heads|arms|legs|wings|tails|horns)|third_arm|extra_digits|webbed_(?:hands|fingers|feet)|"
            "centauroid|taur|arthropod_limbs|arthropod_legs|mechanical_(?:halo|ears|horns|tail|wings|eye)|object_head|"
            "conjoined|colored_extremities|body_(?:fur|fluff|horns|feathers|scales)|gem_(?:on_body)|core_\\(body\\)|uncommon_ear|dragon_(?:arms|"
            "claws)|kemonomimi)",
        ),
        states=(
            "tail_(?:wagging|raised|up|down|wrap|around_own_leg|around_leg|around_own_waist|between_legs|curled|upright|through_clothes|hug|"
            "fluffed)|ears?_(?:down|up|back|twitch|wiggle|flutter|perked_up|droop)|"
            "spread_wings|folded_wings|flapping_wings|wings_(?:spread|folded|around_self)|outstretched_wings|swishing_tail|wagging_tail|"
            "ears?_visible_through_hair|perked_ears|"
            "head_wings_flapping|fluttering_wings|tail_through_skirt|ear_wiggle|closed_wings|alternate_tail",
        ),
    ),
    Group(
        "skin_marks",
        "skin, moles, scars, tattoos and marks",
        (
            "(?:{color}|{mixed}|pale|fair|dark|very_dark|light|tan|tanned|dusky|olive|colored|patchwork|cracked|wrinkled|metal|scaly|stone|"
            "rocky|rough|patterned|crystal|glass|plastic|slimy|transparent|wooden|"
            "dark_brown|light_brown|deep|fleshless|spotted|gold|rubber|purple|stitched|starry|striped|mottled|ashen|porcelain|glowing|ghostly|"
            "demon|unusual)_skin",
            "dark-skinned_(?:female|male|other)|(?:pale|light|dark|tan|tanned|fair)-skinned(?:_(?:female|male))?|tan|tan(?:ned|ning_marks)|"
            "tan_?lines?|(?:dark_)?tanlines|bikini_tan|one-piece_tan|shirt_tan|sports_bra_tan|"
            "(?:colored|dark|very_dark)_skin_(?:female|male)|alternate_skin_colou?r|albino|albinism|vitiligo|piebald|leucism|ganguro|melanism|"
            "gyaru_skin|mixed-race",
            "(?:no_)?mole|moles|(?:multiple|two|many|heart-shaped|star-shaped)_moles?|mole_(?:on|under|above|below|next_to|near|"
            "beside)_(?:(?:each|both|one|left|right|inner|upper|lower|side_of)_)*{part}",
            "(?:{color}_|(?:multiple|cross|burn|facial|x|star|surgical|bullet|heart|stitched|old|large|long|mastectomy|c-section|top_surgery|"
            "vertical|self-harm|lightning|body|claw|glowing|bite|deep|whip)_)*scars?|scarred|"
            "scar_(?:on|across|over|under)_(?:(?:each|both|one|left|right|own|inner|upper|lower|bridge_of)_)*{part}",
            "(?=.*tattoos?$)(?:(?:{color}|{part}|{animal}|{being}|glowing|tribal|flower|floral|heart|star|cross|irezumi|full-body|full_body|"
            "butterfly|number|teardrop|teeth|skull|rose|text|kanji|sleeve|spider|spider_web|womb|japanese|yakuza|moon|sun|"
            "crescent|anchor|wing|abdominal|sternum|lower_back|feather|snake|leaf|magical|multiple|cheek|card|circle|claw|facial_|lip_print|"
            "tramp_stamp|queen_of_spades|joker|paw|symbol|dragon|black|flame|lightning)_)*tattoos?",
            "tattoos?|irezumi|tramp_stamp|pubic_tattoo|womb_tattoo|henna|mehndi",
            "(?=.*mark)(?:{color}_|glowing_|(?:heart|star|crescent|cross|diamond|flower|triangle|multiple|teardrop|third_eye|moon|animal|"
            "colored|tear|lightning_bolt)_)*(?:facial|forehead|body|cheek|face|birth|arm|leg|hand|chest|back|head|neck|eye|skin|stomach|thigh|"
            "breast|whisker|tribal|cheek|joestar|animal|ear)_?"
            "(?:marks?|markings|birthmark)",
            "(?:joestar|heart-shaped|ear|star)_birthmark|birthmarks?|markings|whisker_markings|clan_markings|cheek_markings|(?:body_|arm_|"
            "shoulder_|back_|light_|heavy_|ass_|breast_)?freckles|freckle|bindi|forehead_(?:mark|tattoo)|gem_on_forehead|"
            "stretch_marks|(?:stitched|patchwork)_(?:face|arm|leg|body|neck|skin|torso|head)|stitches|frankenstein_stitches|cracked_face|"
            "wrinkles|old_wrinkles|crow's_feet|acne|pimples?|beauty_mark|body_freckles|veins|veiny_(?:arms|hands|breasts|body)|"
            "self-harm_scars?|needle_marks|liver_spots|injection_marks|"
            "seam_\\(skin\\)|umbrella_mark|dark_veins|scarification|magatama_mark|slash_scar|command_spell|glowing_(?:veins|markings|tattoo)|"
            "birthmark_on_(?:{part})",
        ),
        states=(
            "(?:shiny|wet|oiled|oily|sweaty|flushed|sunburnt|dirty|peeling|glistening|reddened|glossy|burnt|bruised)_skin|sunburn|goosebumps|"
            "turn_pale",
        ),
    ),
    Group(
        "facial_body_hair",
        "beards and body hair",
        (
            "(?:(?:long|short|thick|full|braided|white|{color}|bushy|big|huge|pointy|scruffy|goat|stubble|two-tone|multicolored|gradient|"
            "trimmed|messy|curly|forked|thin|patchy)_)*(?:beards?|goatees?|mustaches?|moustaches?|stubble|sideburns|muttonchops|"
            "whiskers_\\(beard\\))",
            "facial_hair|soul_patch|five_o'clock_shadow|(?:beard|goatee|mustache|sideburns|sparse|facial|leg|pubic|armpit|head|ass|thick|jaw|"
            "arm|chest|stubble|hair|bald)_stubble|(?:beard|goatee|mustache|sideburns)_stubble|chinstrap_beard|chin_?(?:strap|curtain)_beard|"
            "neckbeard|handlebar_mustache|"
            "mutton_chops|toothbrush_mustache|pencil_mustache|van_dyke_beard|circle_beard|chevron_mustache|bearded|bearded_girl|clean-shaven",
            "(?:(?:sparse|thick|excessive|long|heavy|{color}|white|dark|female|male|trimmed|shaved|mismatched|colored|stray|heart-shaped|light|"
            "multicolored|bushy|neat|short|landing_strip|triangle|two-tone|gradient|alternate)_)*"
            "(?:pubic|arm|armpit|chest|leg|navel|body|ass|anal|back|belly|stomach|thigh|nipple|foot|hand|shoulder|knuckle|nose|ear|happy_trail|"
            "forearm|neck|abdominal|testicle|breast|toe|crotch|pectoral|pit)_hair",
            "hairy|very_hairy|hirsute|happy_trail|shaved_pussy|pubes|(?:hairy|shaved)_(?:legs|chest|arms|pussy|armpits|ass|body)|landing_strip",
        ),
    ),
    Group(
        "body_build",
        "build, size and proportions",
        (
            "(?:{size}|flat|perky|sagging|saggy|pointy|veiny|unaligned|asymmetrical|round|average|multiple|extra|uneven|mature|small-medium|"
            "medium-large|hyper|colossal|alternate_size|"
            "conical|multi|tubular|wide_set|wide-set|long|puffy|four|perfect|heavy|spread|soft|dark_skin|torpedo|mechanical|missing)_breasts?",
            "alternate_(?:breast|muscle|pectoral|ass|body|hip)_size|alternate_(?:breasts?|body_type|bust)|flat_(?:chest|chested|ass|butt|"
            "stomach)|flat-chested|busty|pettanko|oppai_loli|(?:no|missing)_breasts",
            "muscul(?:ar|ature)|muscular_(?:female|male|child|other)|muscle|muscles|(?:extreme|hyper|lean|huge|thick|toned|big|"
            "defined)_muscles?|(?:toned|lanky|slim|slender|skinny|athletic|stocky|chubby|burly|buff|fat|obese|plump|petite|tall|short|curvy|"
            "voluptuous|thin|"
            "pear-shaped|pear_shaped|bulky|overweight|underweight|emaciated|thick|heavyset|large|big|giant|huge|tiny|stout|broad|brawny|strong|"
            "fit|weighty|hourglass)(?:_(?:female|male|man|woman|girl|boy|body|figure|build|physique|person|stature|other))",
            "(?:wide|narrow|thick|broad|slim|thin|big|huge|large|skinny|long|short|toned|muscular|fat|slender|lanky|curvy|small|soft|plump|"
            "massive|chubby|meaty|giant|oversized|tiny|gigantic|noodle)_"
            "(?:hips|waist|thighs|legs|shoulders|arms|ass|butt|belly|calves|calf|hands|feet|head|neck|torso|pectorals|biceps|limbs|body|nipples|"
            "areolae|pecs|abs|fingers|buttocks|forearms|back|thigh|wrists|stomach|chest|bulge)",
            "(?:small|large|big|huge|dark|light|colored|inverted|puffy|large_dark|pink|brown|pale|mismatched|multiple|no|long|wide|"
            "{color})_(?:areolae|nipples)|(?:bare_)?pectorals_style|pectorals|abs|six-pack|six_pack|obliques|serratus_anterior|"
            "biceps|linea_alba|muscular_(?:legs|arms)|strongman_waist|hourglass_figure|hip_dips|thigh_gap|love_handles|muffin_top|fat_rolls|"
            "fat_folds|beer_belly|pot_belly|toned|lanky|stocky|obese|overweight|burly|potbelly|big_belly|plump_belly|(?:curvy|shortstack|petite|"
            "plump|fat|skinny|chubby|bbw|ssbbw|"
            "gigantic|giantess|giant|minigirl|miniboy|mini_person|dwarfism|gigantism|pear-shaped_figure|inverted_triangle|tall|weight_gain|"
            "body_type|spindly|long_body|long_neck|no_neck|noodle_limbs|thick_figure|gaunt|slim|slender|bony|ribs|hunchback|wasp_waist|"
            "voluptuous|dadbod|twink|ectomorph|height_over_2m|broad_build|oversized_limbs|(?:deep|small|large)_navel|outie_navel|"
            "broad_shoulders|huge_ass|bubble_butt|thicc)",
        ),
    ),
    Group(
        "age_species",
        "age, and what kind of being it is",
        (
            "(?:mature|aged|elderly|adult|middle-aged|old|older|young|younger|teenage|teen|pubescent|prepubescent|ageless|childlike|"
            "milf)(?:_(?:female|male|woman|man|girl|boy|lady|person|adult|couple))?",
            "aged_(?:up|down)|age_(?:progression|regression)|old|milf|dilf|gilf|loli|shota|lolicon_body|child|female_child|male_child|toddler|"
            "infant|baby|teenager|onee-loli|onee-shota|oppai_loli|grandmother|grandfather|elder|preteen|tween|immortal|"
            "newborn",
            "(?:{animal}|{being}|plant|reptile|raptor|arthropod|moth|monster|mouse|magical_creature|object|furry|orca|kemono|sea|flower|rodent|"
            "feline|canine|avian|amphibian|cephalopod|mythical|eldritch|shadow|star|fire|water|ice|tree|mushroom|half-demon|half-elf|beast|"
            "dragonborn|cow|fallen)_(?:girl|boy|woman|man|humanoid|person|female|male|people|other|folk)s?",
            "(?:(?:dark|high|wood|night|blood|snow|light|half|desert|ice|forest|moon|sea|wild|mountain|grey)[_-])?el(?:f|ves)|half-(?:elf|demon|"
            "dragon|human|vampire|orc|ghost|angel|oni|youkai|cat|giant|dwarf)|(?:demon|angel|fallen_angel|devil|seraph|cherub|archangel|"
            "nephilim|succubus|incubus|vampire|dhampir|werewolf|lycanthrope|lamia|naga|"
            "harpy|mermaid|merman|merfolk|centaur|satyr|faun|minotaur|arachne|dryad|nymph|undine|salamander_\\(mythology\\)|sylph|gnome|dwarf|"
            "goblin|hobgoblin|female_goblin|orc|ogre|oni|troll|kappa|tengu|kitsune|bakeneko|nekomata|inugami|youkai|traditional_youkai|"
            "tsukumogami|yuki_onna|rokurokubi|jorougumo|"
            "jiangshi|zombie|undead|ghoul|lich|skeleton|revenant|dullahan|ghost|wraith|banshee|fairy|pixie|imp|gremlin|gargoyle|golem|"
            "homunculus|gorgon|medusa|cyclops|chimera|manticore|griffin|dragonewt|dragonkin|lizardman|lizardfolk|kobold|gnoll|"
            "robot|humanoid_robot|non-humanoid_robot|android|gynoid|cyborg|mecha_musume|alien|monster|furry|furry_(?:female|male)|anthro|kemono|"
            "feral|kemonomimi_mode|kemonomimi|monsterification|"
            "living_doll|slime_\\(creature\\)|shapeshifter|androgynous|androgyne|otoko_no_ko|tomboy|reverse_trap|futanari|intersex|"
            "femboy|dark-skinned_elf|cambion|tiefling|drow|valkyrie_\\(mythology\\)|nymph_\\(mythology\\)|"
            "mini_person|giant_male|eldritch_abomination|colored_skin_being|abomination|werecat|nekomusume|cat_people|plant_person|red_oni|"
            "blue_oni|monster_(?:girl|boy)|cephalopod_being|ugly_man|gyaru|kogal|yamanba|fat_man)",
        ),
    ),
    Group(
        "worn",
        "glasses, hats, hair ornaments, earrings: worn, but part of many designs (only when named)",
        (
            "{worn}(?:(?:sun)?glasses|eyewear|goggles|monocle|pince-nez|lorgnette|eyepatch)|bespectacled",
            "{worn}(?:hat|headwear|headdress|headband|beret|cap|crown|tiara|circlet|diadem|helmet|headgear|bonnet|beanie|fedora|turban|"
            "hachimaki|headscarf|"
            "kokoshnik|sombrero|veil|hood)",
            "{worn}(?:hairbands?|hairclips?|hairpins?|hair_(?:bows?|ribbons?|ornaments?|flowers?|ties?|bobbles|scrunchies?|beads|bells?|sticks?|"
            "tubes?))",
            "{worn}(?:earrings?|ear_piercing|ear_ornament|earclip|earmuffs|headphones|headset)",
        ),
        optional=True,
    ),
)
