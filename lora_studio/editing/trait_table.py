"""The trait vocabulary: which Danbooru tags say how a character looks, by group.

Every pattern is a regular expression that must match the whole normalised tag (lower case,
underscores). TRAITS belong to the character; STATES describe the same part for the moment of one
picture (closed eyes, wet hair) and stay in captions unless asked. What is listed nowhere is no
trait: actions (adjusting_hair), accessories (hair_bow), make-up (red_lips), fakes (fake_tail).
WORN things are a group of their own that is only touched when it is named.
"""

from __future__ import annotations

# Every hair, eye, skin, horn and wing colour that Danbooru uses.
COLOR = "black|white|gr[ea]y|brown|blonde?|red|blue|green|aqua|purple|violet|pink|orange|yellow|silver|gold|golden"
SHADE = f"(?:(?:light|dark|pale|bright)_)?(?:{COLOR})"
SIZE = "flat|small|medium|large|big|huge|gigantic"

# Animals and beings whose ears, tails, horns or wings are drawn on people, and who appear as `ANIMAL_girl`.
ANIMAL = (
    "cat|dog|fox|wolf|rabbit|bunny|horse|cow|bull|sheep|goat|deer|reindeer|moose|mouse|rat|hamster|squirrel|raccoon|tanuki|bear|panda|"
    "red_panda|polar_bear|tiger|lion|leopard|snow_leopard|jaguar|cheetah|lynx|panther|caracal|serval|hyena|jackal|coyote|fennec|weasel|ferret|otter|badger|"
    "skunk|hedgehog|porcupine|monkey|ape|kangaroo|koala|alpaca|llama|camel|giraffe|elephant|rhinoceros|hippopotamus|pig|boar|tapir|bat|"
    "bird|owl|eagle|crow|raven|chicken|penguin|duck|swan|peacock|parrot|phoenix|fish|shark|whale|orca|dolphin|cetacean|seal|eel|octopus|squid|"
    "cephalopod|jellyfish|crab|lobster|shrimp|lizard|snake|crocodile|crocodilian|alligator|turtle|frog|reptile|gecko|salamander|dragon|"
    "eastern_dragon|dinosaur|insect|bee|wasp|ant|spider|scorpion|moth|butterfly|beetle|ladybug|caterpillar|centipede|mantis|dragonfly|"
    "arthropod|slime|plant|mushroom|flower|tree|tentacle|ghost|demon|angel|devil|imp|succubus|fairy|robot|monster|pokemon|animal|"
    "kemono|unicorn|griffin|kirin|pegasus|doll|cyborg|bone|crystal|feather|donkey|mole|sloth|armadillo|ermine|mink|marten|chinchilla|lemur|kitsune"
)

TRAITS: dict[str, tuple[str, ...]] = {
    "hair_color": (
        f"{SHADE}_hair",
        r"(?:multicolored|two-tone|three-tone|gradient|streaked|split-color|colored_inner|rainbow|starry|glowing|platinum_blonde|strawberry_blonde)_hair",
        f"(?:colored|{COLOR})_tips|roots|(?:dyed|two-tone|streaked|gradient|{COLOR})_bangs|(?:official_)?alternate_hair_color",
    ),
    "hair_length": (
        r"(?:(?:very|absurdly|extremely)_)?(?:short|medium|long)_hair|shoulder-length_hair|bald|bald_(?:girl|female)",
        r"short_hair_with_long_locks|(?:official_)?alternate_hair_length",
    ),
    "hair_style": (
        r"(?:(?:low|high|side|front|short|long|wide|split|folded|braided|single|double|multiple|high_side|low_side|tri)_)*(?:ponytail|twintails|sidetail)",
        r"(?:uneven|asymmetrical)_twintails|quad_tails",
        r"(?:(?:single|side|twin|low|low_twin|high_twin|french|crown|long|short|multiple|tri|quad|thick|ribbon|front|back|dutch|fishtail)_)?braids?|cornrows|dreadlocks",
        r"(?:(?:single|double|triple|side|single_side|double_side|cone|doughnut|braided|low|high|large|small)_)?(?:hair_)?bun(?<!^bun)|(?:cone|doughnut)_hair_bun|single_hair_bun",
        r"(?:(?:single|twin|side|front|quad)_)?drills?(?<!^drill)(?<!^drills)|(?:drill|single|short|long|braided|asymmetrical|low-tied|curly|tied)_sidelocks?|sidelocks|twin_drills",
        r"(?:(?:huge|heart|double|multiple|curly)_)?ahoge|antenna_hair",
        r"(?:wavy|curly|straight|spiked|spiky|flipped|asymmetrical|drill|tentacle|snake|feather|crystal|liquid|fiery|pointy|big|parted|curtained|prehensile|"
        r"folded|heart|bow-shaped|low-tied_long|multi-tied|low-braided_long|poofy|shaggy|cloud|water|flower|layered)_hair",
        r"hair_(?:intakes|rings|flaps|horns|ears|wings|slicked_back|pulled_back|down|up)",
        r"single_hair_(?:ring|intake)|braided_hair_rings|hairpods|half_updo|updo|topknot|chonmage|pompadour|mohawk|afro|undercut|sidecut",
        r"(?:bob|hime|bowl|buzz|pixie|wolf|crew|mullet|mushroom|jellyfish)_cut|mullet|flattop|odango|nihongami|okappa|shimada|fauxhawk|quiff|rattail",
        r"(?:official_)?alternate_hairstyle|widow's_peak|cowlick|beehive_hairdo|beehive_\(hairstyle\)|hi-top_fade|nest_hair",
    ),
    "bangs": (
        r"bangs|(?:blunt|parted|swept|crossed|asymmetrical|long|double-parted|braided|medium|diagonal|short|arched|choppy|cut|center-flap|side|curly|wavy|tented|wispy|parted_side)_bangs",
        r"hair_between_eyes|hair_over_(?:one_eye|eyes)|eyebrows_hidden_by_hair",
    ),
    "eye_color": (
        f"{SHADE}_eyes|(?:multicolored|gradient|two-tone|rainbow|colored|ringed)_eyes|heterochromia",
        f"(?:{COLOR}|colored|mismatched|no|two-tone)_sclera|alternate_eye_color",
    ),
    "eye_shape": (
        f"(?:{COLOR}|slit|bright|symbol-shaped|heart-shaped|star-shaped|cross-shaped|flower-shaped|diamond-shaped|x-shaped|rabbit-shaped|drop-shaped|"
        r"horizontal|vertical|mismatched|no|solid_circle|spiral|clover-shaped|snowflake-shaped|crescent-shaped|musical_note-shaped|round|square|w-shaped)_pupils",
        r"tsurime|tareme|jitome|sanpaku|third_eye|one-eyed|(?:extra|multiple|big|small|long|round|almond|narrow|compound|cephalopod|clock|button)_eyes",
        r"(?:artificial|mechanical|missing|glass)_eye|bags_under_eyes|(?:symbol|star|heart|flower|cross|spiral|number)_in_eye|solid_(?:oval_|circle_)?eyes|"
        r"(?:mismatched|upturned|dashed|no|wide_oval|hollow)_eyes|no_irises|(?:alternate|unusual)_eye_shape|double_pupils|fourth_eye",
    ),
    "brows_lashes": (
        f"(?:thick|short|long|thin|huge|forked|mismatched|curly|round|no|v-shaped|bushy|{COLOR}|dot|cut|split)_eyebrows|unibrow|hikimayu",
        f"(?:long|thick|colored|short|{COLOR})_eyelashes|eyelashes|eyebrow_cut",
    ),
    "nose_mouth_teeth": (
        r"(?:dot|animal|big|long|no|pointy|red|snub|aquiline|large|small|upturned|dog|clown)_nose|nose|snout|beak|muzzle_\(anatomy\)",
        r"(?:skin_)?fangs?|(?:sharp|round|buck|shark|crooked|missing|gold)_(?:teeth|tooth)|gap_teeth|tusks?|mandibles",
        r"(?:thick|full|big|plump)_lips|(?:forked|long|colored|blue|purple|black|green|split)_tongue|(?:no|extra|split|stitched|cat|big)_mouth|elongated_jaw",
    ),
    "species_parts": (
        f"(?:(?:{ANIMAL})_)(?:ears|tail|horns?|wings|antlers|hooves|paws|fins|head|snout)|animal_ear_fluff",
        r"(?:pointy|long_pointy|floppy|large|lop_rabbit|notched|mechanical|robot|wing|pokemon|round_animal|small_animal|extra|long)_ears",
        r"notched_ear|torn_ear|long_earlobes|lop_rabbit_ears|extra_ears|ears_through_headwear|pointed_ears",
        f"(?:{SHADE}|two|multiple|large|long|short|thick|striped|spiked|heart|prehensile|forked|multicolored|two-tone|gradient|curled|mechanical|cable|scorpion|"
        r"stinger|flame-tipped|fluffy|spotted|fiery)_tails?|tail|two_tails|(?:tri|nine|multiple)_tails|kyuubi|stinger",
        f"(?:{SHADE}|single|broken|curled|small|large|long|cone|striped|multiple|asymmetrical|uneven|mechanical|multicolored|skin-covered|glowing|fiery|two-tone|"
        r"gradient|asymmetric|curved|crystal|third|short)_horns?|horns?|antlers|(?:reindeer|deer|moose|white|black|brown)_antlers",
        f"(?:{SHADE}|single|head|low|mini|feathered|ice|fairy|insect|energy|mechanical|multiple|multicolored|asymmetrical|detached|large|small|transparent|"
        r"gradient|fiery|crystal|torn|ankle|back|wrist|leaf|metal|light|liquid|pixel)_wings?|wings?|single_head_wing|winged_arms|wing_ears|head_wings",
        f"(?:{SHADE}|mechanical|broken|star|dark|compass_rose|multiple|liquid|heart|square|inverted|glowing|heart-shaped)_halo|halo",
        f"(?:{SHADE}|body|neck|two-tone|multicolored|chest|arm|leg|gradient|spotted|striped)_fur|(?:{SHADE}|multicolored)_feathers_\\(body\\)|(?:{SHADE})_scales|scales|feathered_arms",
        r"(?:head|dorsal|ear|leg|arm|tail|pectoral)_fins?|fins|gills|hooves|carapace|antennae|claws|cat_paws|(?:robot|doll|ball)_joints|joints|whiskers",
        r"(?:extra|multiple|missing)_(?:arms|legs|heads|faces|limbs)|extra_(?:mouth|eyes_on_body)|webbed_(?:hands|feet)|turtle_shell|spiked_shell|"
        r"(?:single_)?mechanical_(?:arms?|legs?|hands?|parts|body)|prosthe(?:sis|tic_arm|tic_leg|tic_hand)|cyborg_parts|forehead_jewel|object_head|animal_head|"
        r"bird_legs|digitigrade|plantigrade|multi-limbed|screw_in_head|insect_legs|talons|mane|udder",
    ),
    "skin_marks": (
        f"(?:{COLOR}|dark|very_dark|pale|deep|tan|multicolored|two-tone|gradient|colored|patchwork|cracked|metal|wrinkled|transparent|reptile|translucent|stone|spotted|"
        r"striped|scaly|rubber|glowing|plant)_skin|alternate_skin_color|dark-skinned_(?:female|male|other|boy|girl)|tan|tanlines|"
        r"(?:bikini|one-piece|sleeveless|swimsuit|shirt)_tan|vitiligo|albino|sunburn_lines",
        r"moles?|multiple_moles|mole_(?:under|above|on|below|near|beside)_.+|beauty_mark",
        r"(?:cross_|burn_|multiple_|surgical_|battle_)?scars?|scar_(?:on|across|over|under)_.+|(?:top_surgery|c-section|self-harm)_scars?|stitches|stitched_(?:face|arm|leg|mouth|body|neck)",
        r"(?:.+_)?tattoos?(?<!temporary_tattoo)(?<!fake_tattoo)|irezumi|full-body_tattoo",
        r"(?:(?:crescent|star|teardrop|heart|diamond|triangle|cross|x|spade|lightning|spiral|flower)_)?facial_marks?|(?:whisker|body|face|forehead|leg|arm|chest|cheek|back)_mark(?:ings?|s)?|"
        r"(?:joestar_|ear_)?birthmark|(?:body_)?freckles|dimples(?:_of_venus)?|tiger_stripes|visible_veins",
        r"animal_print_skin|(?:glowing|runic)_markings|zebra_stripes|wrinkles",
    ),
    "facial_body_hair": (
        r"(?:(?:long|short|full|thick|thin|sparse|braided|white|grey|black|brown|blonde|red|forked|very_long)_)?(?:beard|mustache|goatee|sideburns|stubble|soul_patch|handlebar_mustache)",
        r"(?:beard|mustache|goatee|sideburns|pubic)_stubble|facial_hair|muttonchops|van_dyke_beard|toothbrush_mustache|fu_manchu|hairy|body_hair|five_o'clock_shadow|pencil_mustache",
        f"(?:(?:sparse|excessive|thick)_)?(?:chest|arm|leg|armpit|navel|belly|back|anal|thigh|foot|hand|ass|nipple)_hair|(?:(?:female|male|colored|sparse|excessive|"
        f"mismatched|no|stray|thick|trimmed|shaved|heart_shaped|{COLOR})_)?pubic_hair|happy_trail",
    ),
    "body_build": (
        f"(?:{SIZE}|sagging|pointy|perky|uneven|no|multiple|asymmetrical|round|tiny)_breasts|flat_chest|alternate_breast_size|flat_ass|(?:huge|large|small|big|fat|round)_ass|alternate_ass_size",
        r"muscular(?:_(?:female|male|girl|boy|child))?|toned(?:_(?:female|male|stomach|legs|arms))?|abs|covered_abs|(?:large|huge|small|flat|big|massive)_?pectorals|pectorals|biceps|obliques|extreme_muscles|thick_neck|thick_(?:thighs|arms|legs|calves)",
        r"petite|curvy|plump|chubby|fat(?:_man|_woman|_female|_male|_boy|_girl)?|obese|skinny|slim|slender|lanky|stocky|voluptuous|wide_hips|narrow_waist|narrow_hips|thin|"
        r"tall(?:_(?:female|male|girl))?|short_(?:stature|female|male|girl)|giant(?:ess|_male|_female)?|mini(?:girl|boy|person)|gigantism|broad_shoulders|narrow_shoulders|wide_shoulders",
        r"(?:long|slim|thick|short|skinny|muscular)_legs|long_(?:neck|arms|limbs|fingers|torso|body)|fat_rolls|big_belly|potbelly|belly|love_handles|oversized_limbs|alternate_(?:muscle|pectoral|body|height)_size|"
        r"ribs|hip_bones|hourglass_figure|pear-shaped_figure|"
        r"long_(?:finger|toe)?nails|huge_(?:thighs|biceps)|alternate_height|bodybuilder|big_hands|large_hands|(?:big|large)_feet|amputee|double_amputee|quadruple_amputee",
    ),
    "age_species": (
        f"(?:{ANIMAL})_(?:girl|boy|man|woman|person|humanoid|folk)s?",
        r"mature_(?:female|male|woman|man)|aged_(?:up|down)|old|old_(?:man|woman)|elderly|child|female_child|male_child|loli|oppai_loli|shota|baby|toddler|teenage|adult|middle-aged|ugly_man|child_boy|"
        r"androgynous|otoko_no_ko|bishounen|tomboy|reverse_trap|trap|futanari|full-package_futanari|implied_futanari",
        r"(?:dark_|high_|wood_|ice_|blood_)?elf|half-elf|dwarf|orc|goblin|female_goblin|female_orc|ogre|oni|red_oni|blue_oni|tengu|crow_tengu|kappa|kitsune|youkai|traditional_youkai|nekomata|bakeneko|tsukumogami|jiangshi|"
        r"vampire|dhampir|werewolf|zombie|undead|skeleton|succubus|incubus|demon|devil|angel|fallen_angel|fairy|pixie|nymph|dryad|alraune|mermaid|merman|monster|mummy|"
        r"lamia|harpy|arachne|centaur|centauroid|taur|minotaur|satyr|faun|cyclops|scylla|gorgon|medusa_\(species\)|naga|kobold|gnoll|lizardman|werecat|cecaelia|selkie|golem|homunculus|dullahan|yuki_onna|zashiki-warashi|"
        r"android|cyborg|gynoid|mecha_musume|living_doll|alien|alien_girl|furry(?:_(?:female|male|other))?|anthro",
        r"half-human|hybrid|chimera",
    ),
}

STATES: dict[str, tuple[str, ...]] = {
    "hair_length": (),
    "hair_color": (r"hair_color_connection",),
    "hair_style": (
        r"(?:wet|messy|floating|tied|untied|dirty|burnt|unkempt)_hair|hair_spread_out|hair_over_(?:breasts|one_breast|crotch|face|mouth)|hair_between_breasts|ahoge_wag|hair_lift|hair_through_headwear|hair_on_horn|bed_head|bedhead|hair_behind_ear|hair_over_shoulder|hair_flowing_over|loose_hair_strand|(?:expressive|detached)_hair|detached_ahoge",
    ),
    "bangs": (r"bangs_pinned_back|eyes_visible_through_hair",),
    "eye_color": (r"(?:glowing|bloodshot)_eyes|glowing_eye",),
    "eye_shape": (
        r"closed_eyes|one_eye_closed|half-closed_eyes?|(?:empty|blank|rolling|sparkling|crazy|narrowed|uneven|unusually_open|heart-shaped|spiral|wavy|v-shaped|bulging|crossed|flaming|"
        r"swirly|squinting|drunk|wide|shaking|teary)_eyes|constricted_pupils|dilated_pupils|wide-eyed|cross-eyed|flaming_eye|eyes_rolled_back",
    ),
    "brows_lashes": (r"(?:raised|furrowed|v-shaped|lowered|worried|angry|sad)_(?:eyebrows?|brows?)",),
    "nose_mouth_teeth": (
        r"teeth|tongue|lips|tooth|(?:clenched|upper|lower|gritted)_teeth|(?:upper|lower)_teeth_only|(?:parted|pursed|puckered)_lips|fangs?_out",
    ),
    "species_parts": (
        r"tail_(?:wagging|raised|between_legs|through_clothes|wrap|around_own_leg|around_leg|around_another|lift|up|down)|ears_(?:down|back|up|perked|folded)|ear_(?:wiggle|twitch)|(?:spread|folded|flapping|closed|bloody)_wings|"
        r"wing_hug|(?:twitching|flattened)_ears|implied_extra_ears|horns_through_headwear|ears_visible_through_hair|glowing_(?:horns|wings|claws)|broken_wing",
    ),
    "skin_marks": (r"(?:shiny|oily|wet|sweaty|dirty|sunburned|burnt|glistening|bruised|stained)_skin|sunburn|bruise|turn_pale|veins|glowing_tattoo|goosebumps",),
    "facial_body_hair": (r"pubic_hair_peek",),
    "body_build": (
        r"pregnant|bouncing_breasts|hanging_breasts|flexing_muscles|breast_expansion|armpit_crease|erect_nipples|stomach_bulge|sweaty_breasts|unaligned_breasts|bursting_breasts",
    ),
    "age_species": (),
}

# Looks like a trait by its words, and is none: roles, props, costumes, clothes, fakes.
FALSE_FRIENDS: tuple[str, ...] = (
    r"fake_.+|holding_.+|unworn_.+|adjusting_.+",
    r"magical_(?:girl|boy)|flower_girl|school_girl|ghost_costume|vampire_costume",
    r"tattoo_(?:artist|machine)",
    r"facial_mark_focus|mole_\(animal\)",
)

WORN: dict[str, tuple[str, ...]] = {
    "worn": (
        r"glasses|sunglasses|monocle|goggles|(?:.+_)?eyewear|eyepatch|medical_eyepatch|(?:.+_)?(?:glasses|goggles)",
        r"(?:.+_)?(?:hat|cap|headwear|beret|beanie|headdress|hood|helmet|crown|tiara|veil|headband|hairband|headphones|headset|bonnet|hachimaki|bandana)(?<!hood_up)(?<!hood_down)",
        r"(?:.+_)?hair_(?:bow|ribbon|ornament|flower|bobbles|scrunchie|tie|bell|beads|stick|tubes)s?|hairclips?|(?:multiple_)?hairpins?|single_hair_bow|multiple_hair_bows|(?:head|hair)_wreath|head_scarf|forehead_protector",
        r"(?:.+_)?earrings?|(?:.+_)?piercings?|ear_piercing|earclip|ear_cuff|(?:.+_)?(?:necklace|choker|pendant|locket)",
        r"(?:horn|tail|ear)_(?:ornament|ribbon|bow|ring|bell)|fake_(?:animal_ears|tail|horns|wings|antlers|halo|mustache|facial_hair)|mask|(?:.+_)?mask|maid_headdress|animal_ear_(?:hairband|headphones|headwear|hood)",
    ),
}
